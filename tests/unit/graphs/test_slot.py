"""A new version takes the place of an old one while calls are under way."""

import threading

from graphs.slot import Slot


def test_a_call_keeps_what_it_began_with_and_the_next_uses_the_new_one() -> None:
    slot = Slot("old")
    with slot.used() as first:
        before = slot.put("new")
        with slot.used() as second:
            assert (first, second) == ("old", "new")
        assert before.calls == 1
    assert before.calls == 0
    assert (before.content, slot.content) == ("old", "new")


def test_what_has_no_calls_gets_none_any_more() -> None:
    """Many threads call while one exchanges: what was found free is never called again."""
    slot, freed, wrong = Slot(0), set[int](), list[int]()
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            with slot.used() as content:
                if content in freed:
                    wrong.append(content)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 300):
        before = slot.put(number)
        while before.calls:
            pass
        freed.add(before.content)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_call_that_fails_has_ended() -> None:
    slot = Slot("old")
    before = slot.put("new")
    try:
        with slot.used():
            raise ValueError
    except ValueError:
        assert slot.put("newer").calls == before.calls == 0
