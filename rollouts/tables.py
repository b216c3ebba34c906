"""The tables of the state. A change here needs a migration in `rollouts/migrations/versions` (a test compares them)."""

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables. Times are seconds since 1970."""


class VersionRow(Base):
    """A version that was ever seen, as `rollouts.life.Life`."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("servable", "number", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    servable: Mapped[str] = mapped_column(String(255))
    number: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str] = mapped_column(String(255))
    phase: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    failures: Mapped[int]
    retry_at: Mapped[float] = mapped_column(Double)
    revision: Mapped[int] = mapped_column(BigInteger)
    published: Mapped[bool]
    current: Mapped[bool]


Index(
    "one_current",
    VersionRow.servable,
    unique=True,
    sqlite_where=VersionRow.current,
    postgresql_where=VersionRow.current,
)


class TransitionRow(Base):
    """A version came into a phase."""

    __tablename__ = "transitions"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    at: Mapped[float] = mapped_column(Double)
    before: Mapped[str | None] = mapped_column(String(16))
    after: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)


class RouteRow(Base):
    """A revision of the routes: it gave one servable's traffic to a version, or to none."""

    __tablename__ = "routes"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    servable: Mapped[str] = mapped_column(String(255))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("versions.id"))
    at: Mapped[float] = mapped_column(Double)


class PinRow(Base):
    """A version that somebody gave the traffic to, against the policy."""

    __tablename__ = "pins"

    servable: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class OutRow(Base):
    """A version that somebody took out, against the policy."""

    __tablename__ = "out"

    servable: Mapped[str] = mapped_column(String(255), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class LeaderRow(Base):
    """A control began to work on this state; only the last one does."""

    __tablename__ = "leaders"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    application: Mapped[str] = mapped_column(String(255))


class ConfigurationRow(Base):
    """A configuration with which everything came up."""

    __tablename__ = "configurations"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(Double)
    content: Mapped[str] = mapped_column(Text)
