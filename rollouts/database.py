"""Open the database of the state, SQLite or PostgreSQL, and bring its tables to what this version needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from configs.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from alembic.config import Config

NEWEST = "0001"
"""The last of the migrations."""
WAIT_S = 5
"""How long a connection, or another's transaction, is waited for."""
_MIGRATING = 6_472_355
"""Number of the lock in PostgreSQL under which the tables are changed; any that nobody else takes."""


def open_database(url: str) -> Engine:
    """An engine for `sqlite:///path/to/file` or `postgresql://user:password@host/name`; nothing is connected yet.

    Raises ConfigError for another URL, and MissingExtra where PostgreSQL's driver is not installed.
    """
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"state_url: {error}; {_FORMS}") from error
    if dialect == "postgresql":
        return _postgresql(parsed)
    if dialect == "sqlite":
        return _sqlite(parsed)
    raise ConfigError(f"state_url: {dialect} is not supported; {_FORMS}")


_FORMS = "write sqlite:///path/to/file or postgresql://user:password@host/name"


def _postgresql(url: URL) -> Engine:
    try:
        waits = {
            "connect_timeout": WAIT_S,
            "tcp_user_timeout": WAIT_S * 1000,
            "options": f"-c lock_timeout={WAIT_S}s -c statement_timeout={WAIT_S}s",
        }
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=waits)
    except ImportError as error:
        raise MissingExtra(f"psycopg cannot be imported ({error}); run: pip install 'millrace[postgres]'") from error


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions itself, and not before reads
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest migration, in the transaction of `connection`: all of it, or nothing.

    Of several processes that begin at the same time, one does it. Raises ConfigError if they are newer than this code.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATING})
    if _migrated(connection) == NEWEST:
        return
    # Not before: Alembic takes half a second of CPU, and control is back from a crash that much sooner without it.
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(alembic_config(connection), "head")
    except CommandError as error:
        raise ConfigError(
            f"the state's tables are not ones that this version of Millrace knows ({error}); "
            "run the version that wrote them, or name another state_url"
        ) from error


def _migrated(connection: Connection) -> str | None:
    """The last migration of these tables; None where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def alembic_config(connection: Connection) -> "Config":
    """What Alembic needs to work on `connection`."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    return config
