"""One process of a fuzz: drives inputs through the doors and notes what must not be."""

import os
import time
import traceback
from collections import Counter
from collections.abc import MutableSequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from benchmarks.fuzz.doors import DOORS
from benchmarks.fuzz.mutate import mutated
from configs.errors import MillraceError, RequestError, Unsupported
from deployments.protocols.v2_json import error_body

LONGEST_MESSAGE = 2_000
"""Characters of an error: a hostile value must not make a long answer."""
WARM_UP = 20_000
"""Inputs of a process after which its memory is measured first: by then all code has run and all caches are full."""
MOST_BOMBS = 0.01
"""Share of the inputs that unpack to more than the limit; each costs a thousand others."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_DOORS = [name for name in DOORS if name != "bombs"]
_PROTO = ("grpc raw", "grpc typed")


@dataclass
class Findings:
    """What one process saw."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(door, `accepted` or the class of the error) → inputs."""
    failures: dict[str, str] = field(default_factory=dict)
    """Where it was raised → what, and how to see it again."""
    slowest: tuple[float, str] = (0.0, "")
    """CPU seconds, and which input."""
    resident: tuple[int, int] = (0, 0)
    """Bytes in memory after the warm-up and at the end."""


def drive(seed: int, indices: range, progress: MutableSequence[float]) -> Findings:
    """Drive these inputs. `progress` holds the current index and when it began, for a watchdog in another process."""
    found = Findings()
    for done, index in enumerate(indices):
        door, body, header = made(seed, index)
        progress[0], progress[1] = index, time.monotonic()
        started = time.process_time()
        found.outcomes[door, _outcome(found, door, body, header, f"--seed {seed} --only {index}")] += 1
        found.slowest = max(found.slowest, (time.process_time() - started, f"{door}: --seed {seed} --only {index}"))
        if done == min(WARM_UP, len(indices) // 2):
            found.resident = _resident(), 0
    progress[1] = 0
    found.resident = found.resident[0], _resident()
    return found


def made(seed: int, index: int) -> tuple[str, bytes, str]:
    """Door, body and header of one input: the same for the same numbers."""
    random = Random(seed << 40 | index)
    bomb = random.random() < MOST_BOMBS
    door = "bombs" if bomb else random.choice(_DOORS)
    body, header = random.choice(DOORS[door].seeds)
    if not bomb:
        body, header = mutated(random, body, header, door in _PROTO)
    elif random.random() < 0.5:
        body = body[: random.randint(0, len(body))]
    return door, body, header


def _outcome(found: Findings, door: str, body: bytes, header: str, again: str) -> str:
    try:
        DOORS[door].run(body, header)
        return "accepted"
    except (RequestError, Unsupported) as error:
        if problem := _message_problem(error):
            found.failures.setdefault(f"{door}: {problem}", f"{again}\n{error.message[:500]}")
        return type(error).__name__
    except Exception as error:  # noqa: BLE001  whatever else comes is what a fuzz looks for
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{door}: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        found.failures.setdefault(where, f"{again}\n{traceback.format_exc(limit=-6)}")
        return f"FAILED ({type(error).__name__})"


def _message_problem(error: MillraceError) -> str:
    if not 0 < len(error.message) <= LONGEST_MESSAGE:
        return f"{type(error).__name__} with a message of {len(error.message)} characters"
    try:
        error_body(error.message)
    except TypeError as problem:  # half of a surrogate pair has no UTF-8
        return f"a message that cannot be sent: {problem}"
    return ""


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
