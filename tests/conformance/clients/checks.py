"""Runs a client's checks: those whose capabilities and models the server has."""

import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Check = Callable[[Any], Any]
_CHECKS: list[tuple[Check, frozenset[str]]] = []


def check(*needs: str) -> Callable[[Check], Check]:
    """Register a check; `needs` are capabilities and models, e.g. `binary` or `model:simple`."""

    def register(function: Check) -> Check:
        _CHECKS.append((function, frozenset(needs)))
        return function

    return register


@contextmanager
def raises(kind: type[Exception]) -> Iterator[list[Any]]:
    """The block must raise; the list then holds the error."""
    caught: list[Any] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    assert caught, f"no {kind.__name__}"


async def run(client: Any) -> None:
    """Run the checks on a client, name each, and end with status 1 if one failed."""
    can = set(sys.argv[2].split(","))
    failed = 0
    for function, needs in _CHECKS:
        if needs - can:
            print(f"left out: {function.__name__} ({', '.join(sorted(needs - can))})")
            continue
        try:
            found = function(client)
            if inspect.isawaitable(found):
                await found
        except Exception:  # noqa: BLE001  a check fails in its own way; the others still run
            failed += 1
            print(f"FAILED: {function.__name__}\n{traceback.format_exc()}")
        else:
            print(f"ok: {function.__name__}")
    sys.exit(min(failed, 1))


def main(client: Any) -> None:
    """`run` for clients that need no event loop."""
    asyncio.run(run(client))
