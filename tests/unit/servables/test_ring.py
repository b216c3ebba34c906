"""Models are spread over replicas: balanced, with few moves when replicas come or go."""

from collections import Counter
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servables.ring import FEW, MOST, Ring

KEYS = [f"model-{i}" for i in range(2000)]
names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True)


def homes(replicas: list[str]) -> dict[str, str]:
    ring = Ring(replicas)
    return {key: ring.choose(key, {}) for key in KEYS}


@settings(max_examples=30)
@given(names, st.lists(st.sampled_from(KEYS[:40]), max_size=300), st.data())
def test_no_replica_gets_more_than_the_bound_whatever_comes_and_ends(
    replicas: list[str], asked: list[str], data: st.DataObject
) -> None:
    ring, loads = Ring(replicas), Counter[str]()
    for key in asked:
        replica = ring.choose(key, loads)
        loads[replica] += 1
        assert loads[replica] <= max(FEW, ceil(MOST * loads.total() / len(replicas)))
        if data.draw(st.booleans()):
            loads[data.draw(st.sampled_from(sorted(loads.elements())))] -= 1


@settings(max_examples=30)
@given(names)
def test_the_order_of_names_is_of_no_matter_and_each_comes_once(replicas: list[str]) -> None:
    first, second = Ring(replicas), Ring(replicas[::-1])
    for key in KEYS[:20]:
        order = list(first.order(key))
        assert order == list(second.order(key))
        assert sorted(order) == sorted(replicas)


@pytest.mark.parametrize("count", [2, 5, 10, 30])
def test_a_replica_that_comes_takes_its_share_and_nothing_else_moves(count: int) -> None:
    before = homes([f"replica-{i}" for i in range(count)])
    after = homes([f"replica-{i}" for i in range(count + 1)])
    moved = [key for key in KEYS if before[key] != after[key]]
    assert {after[key] for key in moved} == {f"replica-{count}"}
    assert 0.6 < len(moved) * (count + 1) / len(KEYS) < 1.5
    shares = Counter(before.values())
    assert max(shares.values()) < 1.5 * len(KEYS) / count


@pytest.mark.parametrize("count", [5, 10])
def test_under_load_few_requests_go_elsewhere_when_a_replica_goes(count: int) -> None:
    def placed(replicas: list[str]) -> list[str]:
        ring, loads = Ring(replicas), Counter[str]()
        for key in KEYS:
            loads[ring.choose(key, loads)] += 1
        assert max(loads.values()) <= ceil(MOST * len(KEYS) / len(replicas))
        return [ring.choose(key, loads) for key in KEYS]

    replicas = [f"replica-{i}" for i in range(count)]
    before, after = placed(replicas), placed(replicas[1:])
    moved = sum(a != b for a, b in zip(before, after, strict=True) if a != replicas[0])
    assert moved < 2 * len(KEYS) / count


def test_a_popular_model_spreads_and_the_others_stay_where_they_are() -> None:
    ring, loads = Ring([f"replica-{i}" for i in range(10)]), Counter[str]()
    for _ in range(400):
        loads[ring.choose("popular", loads)] += 1
    assert list(loads) == list(ring.order("popular"))[: len(loads)], "to the next ones on the ring"
    assert len(loads) == ceil(10 / MOST)
    quiet = [key for key in KEYS if ring.choose(key, {}) not in loads]
    assert quiet
    assert all(ring.choose(key, loads) == ring.choose(key, {}) for key in quiet)


def test_with_little_load_a_model_stays_in_one_place() -> None:
    ring, loads = Ring(["a", "b", "c"]), Counter[str]()
    for _ in range(FEW):
        loads[ring.choose("model", loads)] += 1
    assert len(loads) == 1


def test_a_ring_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one replica"):
        Ring([])
