"""The durable state in SQLite and in a real PostgreSQL."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

from configs.errors import ConfigError, MissingExtra, Unavailable
from rollouts.database import NEWEST, alembic_config, open_database
from rollouts.life import Life, Phase
from rollouts.plan import STEPS, Reroute
from rollouts.store import Routes, StateStore
from tests.unit.rollouts.world import OTHER, SERVABLE, key


def bring_up(store: StateStore, number: int) -> Life:
    store.observe({SERVABLE: [key(number)]}, frozenset(), 1.0)
    life = store.life(key(number))
    for _, phase in STEPS.values():
        store.save(life, life.moved(phase), 2.0)
        life = store.life(key(number))
    return life


def test_everything_is_there_after_a_restart(url: str) -> None:
    store = StateStore(url)
    bring_up(store, 1)
    big = bring_up(store, 2**63 - 1).key
    first = store.reroute(Reroute(SERVABLE, key(1)), 3.0)
    second = store.reroute(Reroute(SERVABLE, big), 3.0)
    store.pin(SERVABLE, 1)
    store.pin(SERVABLE, big.number)
    store.keep_configuration("one", 4.0)
    store.keep_configuration("two", 4.0)
    store.close()

    again = StateStore(url)
    assert again.routes() == Routes(second, {SERVABLE: big})
    assert second == first + 1
    assert again.lives() == {
        SERVABLE: [
            Life(key(1), Phase.DRAINING, revision=second, published=False),
            Life(big, Phase.ROUTED, revision=second, current=True),
        ]
    }
    assert again.pins() == {SERVABLE: big.number}
    assert again.last_configuration() == "two"
    [last, before, *_] = again.history(SERVABLE)
    assert (last.key, last.at, last.before, last.after) == (big, 3.0, Phase.READY, Phase.ROUTED)
    assert (before.key, before.after) == (key(1), Phase.DRAINING)
    again.close()


def test_a_change_is_made_whole_or_not_at_all(url: str) -> None:
    store = StateStore(url)
    bring_up(store, 1)
    store.reroute(Reroute(SERVABLE, key(1)), 3.0)
    store.observe({SERVABLE: [key(2)]}, frozenset(), 4.0)
    lives, history = store.lives(), store.history(SERVABLE)
    with pytest.raises(ValueError, match="version 2 is discovered: it cannot become routed"):
        store.reroute(Reroute(SERVABLE, key(2)), 5.0)  # by then version 1 has lost the traffic
    assert (store.lives(), store.history(SERVABLE)) == (lives, history)
    store.close()


def test_a_control_that_was_replaced_changes_nothing(url: str) -> None:
    old, new = StateStore(url), StateStore(url)
    old.observe({SERVABLE: [key(1)]}, frozenset(), 1.0)
    life = old.life(key(1))
    new.save(life, life.moved(Phase.FETCHED), 2.0)
    with pytest.raises(Unavailable, match="version 1 is no longer discovered: another control"):
        old.save(life, life.moved(Phase.FETCHED), 3.0)
    assert [each.at for each in new.history(SERVABLE)] == [2.0, 1.0]
    old.close()
    new.close()


def test_one_of_several_makes_the_tables(url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        stores = list(pool.map(StateStore, [url] * 3))
    assert stores[0].lives() == {}
    for store in stores:
        store.close()


def test_the_migrations_make_the_tables_of_the_code(url: str) -> None:
    StateStore(url).close()
    engine = open_database(url)
    with engine.begin() as connection:
        command.check(alembic_config(connection))
        assert ScriptDirectory.from_config(alembic_config(connection)).get_current_head() == NEWEST
    engine.dispose()


def test_tables_of_a_newer_millrace_are_left_alone(url: str) -> None:
    StateStore(url).close()
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match=r"9999.*run the version that wrote them"):
        StateStore(url)


def test_revisions_grow_over_a_loss_of_the_database(url: str) -> None:
    store = StateStore(url)
    bring_up(store, 1)
    assert store.reroute(Reroute(SERVABLE, key(1)), 1_800_000_000.0) == 1_800_000_000_000
    store.close()


def test_a_source_that_cannot_be_read_has_what_it_had(url: str) -> None:
    store = StateStore(url)
    other = key(3, servable=OTHER)
    store.observe({SERVABLE: [key(1)], OTHER: [other]}, frozenset(), 1.0)
    store.observe({OTHER: []}, {key(2)}, 2.0)
    assert store.lives() == {
        SERVABLE: [Life(key(1)), Life(key(2), published=False)],
        OTHER: [Life(other, published=False)],
    }
    store.observe({SERVABLE: [], OTHER: [other]}, frozenset(), 3.0)
    assert [life.published for lives in store.lives().values() for life in lives] == [False, False, True]
    store.close()


def test_a_look_at_any_number_of_sources_is_one_transaction(url: str) -> None:
    store, begun = StateStore(url), []
    event.listen(store._engine, "begin", begun.append)
    store.observe({f"g.m{number}": [key(1, servable=f"g.m{number}")] for number in range(20)}, frozenset(), 1.0)
    assert len(begun) == 1
    assert len(store.lives()) == 20
    store.close()


def test_a_database_that_is_away_says_so_without_its_password() -> None:
    with pytest.raises(Unavailable, match=r"postgresql.*u:\*\*\*@127.0.0.1:1/x cannot be used: .*refused"):
        StateStore("postgresql://u:secret@127.0.0.1:1/x")


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "nonesuch://host"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"state_url: .*; write sqlite:///path/to/file or postgresql://"):
        StateStore(url)


def test_postgresql_needs_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"pip install 'millrace\[postgres\]'"):
        StateStore("postgresql://host/name")
