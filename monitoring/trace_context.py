"""W3C Trace Context: reads and writes `traceparent` and `tracestate`.

Spec: "Trace Context", W3C Recommendation of 23 November 2021, §3.2 (`traceparent`) and §3.3 (`tracestate`). What does
not follow it is ignored, as §3.2.2.3 and §3.3.1.2 say: a request with a malformed header begins a trace of its own.
"""

import re
from dataclasses import dataclass

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Names of the headers, and of gRPC's metadata."""

MOST_MEMBERS = 32
"""Of a `tracestate` (§3.3.1.1)."""

_SAMPLED = 0x01
_TRACEPARENT = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_KEY = "[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER = re.compile(rf"({_KEY})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e])")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A caller's span."""

    trace_id: int
    span_id: int
    sampled: bool
    state: tuple[tuple[str, str], ...] = ()
    """Members of `tracestate`: (vendor's key, value), the newest first."""

    @property
    def traceparent(self) -> str:
        """The header's value, in version 00."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{_SAMPLED if self.sampled else 0:02x}"

    @property
    def tracestate(self) -> str:
        """The header's value; empty if there is nothing to say."""
        return ",".join(f"{key}={value}" for key, value in self.state)


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """The span that two headers name; None if `traceparent` is absent (empty) or malformed.

    Args:
        tracestate: several headers of this name are joined by commas (§3.3.1).
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None  # §3.2.2.1, §3.2.2.2, §3.2.2.3, §3.2.2.4: later versions may say more behind the flags
    return TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED), _members(tracestate))


def _members(tracestate: str) -> tuple[tuple[str, str], ...]:
    """All members, or none if one of them is malformed or too many (§3.3.1.3)."""
    members: dict[str, str] = {}
    for text in tracestate.split(","):
        if not (member := text.strip(" \t")):
            continue
        found = _MEMBER.fullmatch(member)
        if found is None or found[1] in members or len(members) == MOST_MEMBERS:
            return ()
        members[found[1]] = found[2]
    return tuple(members.items())
