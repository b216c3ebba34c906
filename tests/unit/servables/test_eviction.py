"""Which models leave, so that enough memory is free and few have to be loaded again."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from servables.eviction import covers, victims
from servables.memory import Memory


@dataclass(frozen=True)
class One:
    name: str
    memory: Memory


def test_a_large_one_that_must_go_spares_the_small_ones_before_it() -> None:
    idle = [One("small", Memory(2)), One("medium", Memory(8)), One("large", Memory(17))]
    assert [one.name for one in victims(idle, Memory(20))] == ["medium", "large"]
    assert [one.name for one in victims(idle, Memory(9))] == ["small", "medium"]


def test_who_has_none_of_what_is_missing_stays() -> None:
    idle = [One("cpu", Memory(host=50)), One("gpu", Memory(host=1, gpu=50)), One("late", Memory(host=50))]
    assert [one.name for one in victims(idle, Memory(gpu=10))] == ["gpu"]
    assert [one.name for one in victims(idle, Memory(host=51, gpu=10))] == ["cpu", "gpu"]


sizes = st.builds(Memory, st.integers(0, 20), st.integers(0, 20))


@given(st.lists(sizes, max_size=12), sizes)
def test_enough_leave_if_there_are_enough_and_none_of_them_for_nothing(idle: list[Memory], shortage: Memory) -> None:
    models = [One(str(i), size) for i, size in enumerate(idle)]
    chosen = victims(models, shortage)
    assert [one for one in models if one in chosen] == chosen, "the least recently used first"
    assert covers(chosen, shortage) == covers(models, shortage)
    if covers(chosen, shortage):
        assert not any(covers([one for one in chosen if one is not spared], shortage) for spared in chosen)
