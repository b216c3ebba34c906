"""The headers of W3C Trace Context, with the examples and the rules of the specification."""

import pytest

from monitoring.trace_context import MOST_MEMBERS, TraceContext, parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def test_what_is_read_is_written_again() -> None:
    state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    context = parse(GOOD, state)
    assert context == TraceContext(
        int(TRACE, 16), int(SPAN, 16), True, (("rojo", "00f067aa0ba902b7"), ("congo", "t61rcWkgMzE"))
    )
    assert (context.traceparent, context.tracestate) == (GOOD, state)


@pytest.mark.parametrize(
    ("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True), ("fe", False)]
)
def test_only_the_sampled_flag_counts(flags: str, sampled: bool) -> None:
    context = parse(f"{GOOD[:-2]}{flags}")
    assert context is not None
    assert context.sampled is sampled
    assert context.traceparent[-2:] == ("01" if sampled else "00")


@pytest.mark.parametrize("later", [f"01{GOOD[2:]}", f"cc{GOOD[2:]}-what-the-future-will-be-like", f"fe{GOOD[2:]}-"])
def test_a_later_version_is_read_as_far_as_it_is_known(later: str) -> None:
    assert parse(later) == parse(GOOD)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "garbage",
        f"ff-{TRACE}-{SPAN}-01",
        f"{GOOD}-more",
        f"{GOOD}\n",
        f"cc{GOOD[2:]}.more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        GOOD.upper(),
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-xy",
        f"{GOOD},{GOOD}",
        f" {GOOD}",
    ],
)
def test_what_is_malformed_is_ignored(bad: str) -> None:
    assert parse(bad, "rojo=1") is None


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("a=1, b=2 ,,\tc=3", ("a", "b", "c")),
        ("tenant@system=x y", ("tenant@system",)),
        ("0a@b=1", ("0a@b",)),
        ("k" * 256 + "=" + "v" * 256, ("k" * 256,)),
        (",".join(f"k{n}=1" for n in range(MOST_MEMBERS)), tuple(f"k{n}" for n in range(MOST_MEMBERS))),
        (",".join(f"k{n}=1" for n in range(MOST_MEMBERS + 1)), ()),
        ("a=1,a=2", ()),
        ("A=1", ()),
        ("0=1", ()),
        ("a=1,b", ()),
        ("a=", ()),
        ("a=x=y", ()),
        ("a=é", ()),
        ("k" * 257 + "=1", ()),
    ],
)
def test_a_state_is_taken_whole_or_not_at_all(text: str, members: tuple[str, ...]) -> None:
    context = parse(GOOD, text)
    assert context is not None
    assert tuple(key for key, _ in context.state) == members
