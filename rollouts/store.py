"""The durable state: versions with every change of their phases, routes by revision, pins, the configuration."""

from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from configs.errors import ConfigError, MillraceError, Unavailable
from configs.versions import Versions
from rollouts.database import migrate, open_database
from rollouts.life import Key, Life, Phase
from rollouts.plan import Reroute
from rollouts.policy import Wish
from rollouts.tables import ConfigurationRow, LeaderRow, OutRow, PinRow, RouteRow, TransitionRow, VersionRow

LEADERS_APART = 1_000_000
"""More orders than one control gives."""


@dataclass(frozen=True)
class Routes:
    """Which version of each servable has the traffic."""

    revision: int
    """Grows with every change, also over a loss of the state. 0: there never was a route."""
    versions: Mapping[str, Key]


@dataclass(frozen=True)
class Transition:
    """A version came into a phase, at a time in seconds since 1970."""

    key: Key
    at: float
    before: Phase | None
    """None: it was seen for the first time."""
    after: Phase
    reason: str


class StateStore:
    """Every method is one transaction: all of it is on the disk when it returns, or nothing is. Blocks; thread-safe.

    Each may raise Unavailable: the database is away, or another control changed the same. It can be called again.

    Args:
        url: `sqlite:///path/to/file` or `postgresql://user:password@host/name`.

    Raises:
        ConfigError: another URL, or a database that a newer Millrace wrote.
        MissingExtra: PostgreSQL's driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_database(url)
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)
        try:
            with self._transaction() as session:
                migrate(session.connection())
        except MillraceError:
            self.close()
            raise

    def lives(self) -> dict[str, list[Life]]:
        """Every servable's versions."""
        found: dict[str, list[Life]] = {}
        with self._transaction() as session:
            for row in session.scalars(select(VersionRow).order_by(VersionRow.servable, VersionRow.number)):
                found.setdefault(row.servable, []).append(_life(row))
        return found

    def life(self, key: Key) -> Life:
        """One version, which was seen before."""
        with self._transaction() as session:
            return _find(session, key)

    def observe(self, published: Mapping[str, Collection[Key]], up: Set[Key], now: float) -> None:
        """Record which versions sources have, and those in memory; the ones that are new are `discovered`.

        Args:
            published: servable → the versions in its source; absent: it cannot be read, so that it has what it had.
            up: what is in memory, of any servables.
        """
        offered = frozenset(chain.from_iterable(published.values()))
        with self._transaction() as session:
            known = {Key(name, number, digest): (row, was) for row, was, name, number, digest in session.execute(_SEEN)}
            changed = [
                {"id": row, "published": key in offered}
                for key, (row, was) in known.items()
                if key.servable in published and was != (key in offered)
            ]
            if changed:
                session.execute(update(VersionRow), changed)
            for key in sorted((offered | up) - known.keys()):
                _discover(session, key, key in offered, now)

    def save(self, before: Life, after: Life, now: float) -> None:
        """Record a change of one version. Raises Unavailable if it is no longer as it was `before`."""
        with self._transaction() as session:
            _change(session, before, after, now)

    def reroute(self, change: Reroute, now: float) -> int:
        """Publish new routes: the version gets the traffic, and the one that had it drains. Gives the revision.

        Raises ValueError if the version is not warm.
        """
        with self._transaction() as session:
            last = session.scalar(select(func.max(RouteRow.revision))) or 0
            # Milliseconds: so it grows even where the database was lost, and gateways never take old for new.
            revision = max(last + 1, int(now * 1000))
            for row in session.scalars(select(VersionRow).where(*_of(change.servable), VersionRow.current)).all():
                if _key(row) != change.to:
                    _change(session, _life(row), _unrouted(_life(row), revision), now)
            version_id = _give_traffic(session, change.to, revision, now) if change.to else None
            session.add(RouteRow(revision=revision, servable=change.servable, version_id=version_id, at=now))
        return revision

    def routes(self) -> Routes:
        """The routes as they are."""
        with self._transaction() as session:
            revision = session.scalar(select(func.max(RouteRow.revision))) or 0
            keys = [_key(row) for row in session.scalars(select(VersionRow).where(VersionRow.current))]
        return Routes(revision, {key.servable: key for key in keys})

    def history(self, servable: str, limit: int = 100) -> list[Transition]:
        """What happened to a servable's versions, the last first."""
        query = _TRANSITIONS.where(*_of(servable)).order_by(TransitionRow.id.desc()).limit(limit)
        with self._transaction() as session:
            return [_told(of, row) for of, row in session.execute(query)]

    def changed_at(self) -> dict[Key, float]:
        """When each version came into its phase, in seconds since 1970."""
        last = select(VersionRow, func.max(TransitionRow.at)).join(
            TransitionRow, TransitionRow.version_id == VersionRow.id
        )
        with self._transaction() as session:
            return {_key(row): at for row, at in session.execute(last.group_by(VersionRow.id))}

    def transitions_after(self, last: int) -> tuple[int, list[Transition]]:
        """What happened to all versions after the transition with this number, and the number of the last one."""
        with self._transaction() as session:
            rows = session.execute(_TRANSITIONS.where(TransitionRow.id > last).order_by(TransitionRow.id)).all()
            return (rows[-1][0].id if rows else last), [_told(of, row) for of, row in rows]

    def last_transition(self) -> int:
        """The number of the last transition; 0 if there is none."""
        with self._transaction() as session:
            return session.scalar(select(func.max(TransitionRow.id))) or 0

    def pins(self) -> dict[str, int]:
        """Servable → the version that somebody gave the traffic to."""
        with self._transaction() as session:
            return {row.servable: row.number for row in session.scalars(select(PinRow))}

    def pin(self, servable: str, number: int | None) -> None:
        """Give the traffic to a version, against the policy; None: as the policy says."""
        with self._transaction() as session:
            _pin(session, servable, number)

    def out(self) -> dict[str, frozenset[int]]:
        """Servable → the versions that somebody took out."""
        found: dict[str, frozenset[int]] = {}
        with self._transaction() as session:
            for row in session.scalars(select(OutRow)):
                found[row.servable] = found.get(row.servable, frozenset()) | {row.number}
        return found

    def take_out(self, servable: str, number: int) -> None:
        """Take a version out, against the policy. One that is taken out has no pin."""
        with self._transaction() as session:
            _let_in(session, servable, number)
            session.add(OutRow(servable=servable, number=number))
            session.execute(delete(PinRow).where(PinRow.servable == servable, PinRow.number == number))

    def insist(self, servable: str, number: int) -> None:
        """Pin a version, let it in if it was taken out, and have it tried again at once if it failed."""
        failed = VersionRow.number == number, VersionRow.phase == Phase.FAILED.value
        with self._transaction() as session:
            session.execute(update(VersionRow).where(*_of(servable), *failed).values(retry_at=0.0))
            _let_in(session, servable, number)
            _pin(session, servable, number)

    def forget_wishes(self, servable: str) -> None:
        """No version is pinned or taken out any more."""
        with self._transaction() as session:
            _pin(session, servable, None)
            session.execute(delete(OutRow).where(OutRow.servable == servable))

    def wishes(self, policies: Mapping[str, Versions]) -> dict[str, Wish]:
        """What the configuration and the operators want of each servable."""
        pins, out = self.pins(), self.out()
        return {name: Wish(policy, pins.get(name), out.get(name, frozenset())) for name, policy in policies.items()}

    def last_configuration(self) -> str | None:
        """The last configuration with which everything came up."""
        with self._transaction() as session:
            return session.scalar(select(ConfigurationRow.content).order_by(ConfigurationRow.id.desc()).limit(1))

    def keep_configuration(self, content: str, now: float) -> None:
        """Record that everything came up with this configuration."""
        with self._transaction() as session:
            session.add(ConfigurationRow(at=now, content=content))

    def lead(self, application: str, now: float) -> int:
        """From now on the caller alone works on this state.

        Returns:
            What `leads` asks for; far greater than what was given before, even where the clock was set back.

        Raises:
            ConfigError: the state is another application's.
        """
        with self._transaction() as session:
            last = session.scalars(select(LeaderRow).order_by(LeaderRow.id.desc()).limit(1)).first()
            if last is not None and last.application != application:
                raise ConfigError(
                    f"state_url: the database holds the state of the application {last.application!r}; "
                    f"name another one for {application!r}"
                )
            leader = max(last.id + LEADERS_APART if last is not None else 0, int(now * 1000))
            session.execute(delete(LeaderRow))
            session.add(LeaderRow(id=leader, application=application))
        return leader

    def leads(self, leader: int) -> bool:
        """Whether nobody has taken over from this caller of `lead`."""
        with self._transaction() as session:
            return session.scalar(select(func.max(LeaderRow.id))) == leader

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with self._sessions.begin() as session:
                yield session
        except DBAPIError as error:
            where = self._engine.url.render_as_string(hide_password=True)
            raise Unavailable(f"the state in {where} cannot be used: {error.orig}; it is tried again") from error


_SEEN = select(VersionRow.id, VersionRow.published, VersionRow.servable, VersionRow.number, VersionRow.digest)
_TRANSITIONS = select(TransitionRow, VersionRow).join(VersionRow, TransitionRow.version_id == VersionRow.id)


def _told(of: TransitionRow, row: VersionRow) -> Transition:
    return Transition(_key(row), of.at, Phase(of.before) if of.before else None, Phase(of.after), of.reason)


def _key(row: VersionRow) -> Key:
    return Key(row.servable, row.number, row.digest)


def _life(row: VersionRow) -> Life:
    return Life(
        _key(row),
        Phase(row.phase),
        row.reason,
        row.failures,
        row.retry_at,
        row.revision,
        row.published,
        row.current,
    )


def _discover(session: Session, key: Key, published: bool, now: float) -> None:
    row = VersionRow(**key._asdict(), **_columns(Life(key)), published=published)
    session.add(row)
    session.flush()  # gives it its id
    session.add(_transition(row.id, None, Life(key), now))


def _find(session: Session, key: Key) -> Life:
    return _life(session.scalars(select(VersionRow).where(*_is(key))).one())


def _columns(life: Life) -> dict[str, Any]:
    return {
        "phase": life.phase.value,
        "reason": life.reason,
        "failures": life.failures,
        "retry_at": life.retry_at,
        "revision": life.revision,
        "current": life.current,
    }


def _pin(session: Session, servable: str, number: int | None) -> None:
    session.execute(delete(PinRow).where(PinRow.servable == servable))
    if number is not None:
        session.add(PinRow(servable=servable, number=number))


def _let_in(session: Session, servable: str, number: int) -> None:
    session.execute(delete(OutRow).where(OutRow.servable == servable, OutRow.number == number))


def _of(servable: str) -> tuple[ColumnElement[bool]]:
    return (VersionRow.servable == servable,)


def _is(key: Key) -> tuple[ColumnElement[bool], ...]:
    return *_of(key.servable), VersionRow.number == key.number, VersionRow.digest == key.digest


def _unrouted(life: Life, revision: int) -> Life:
    """A version that loses the traffic; one whose processes ended has nothing to drain."""
    left = life.moved(Phase.DRAINING) if life.phase is Phase.ROUTED else life
    return replace(left, current=False, revision=revision)


def _give_traffic(session: Session, key: Key, revision: int, now: float) -> int:
    life = _find(session, key)
    return _change(session, life, replace(life.moved(Phase.ROUTED), current=True, revision=revision), now)


def _change(session: Session, before: Life, after: Life, now: float) -> int:
    """Write one version, and the transition if it is one. Gives the row's id."""
    as_it_was = VersionRow.phase == before.phase, VersionRow.failures == before.failures
    same = (*_is(before.key), *as_it_was, VersionRow.revision == before.revision)
    version_id: int | None = session.scalar(
        update(VersionRow).where(*same).values(_columns(after)).returning(VersionRow.id)
    )
    if version_id is None:
        raise Unavailable(f"{before.key} is no longer {before.phase}: another control works on the same state")
    if after.phase is not before.phase:
        session.add(_transition(version_id, before.phase, after, now))
    return version_id


def _transition(version_id: int, before: Phase | None, after: Life, now: float) -> TransitionRow:
    return TransitionRow(version_id=version_id, at=now, before=before, after=after.phase.value, reason=after.reason)
