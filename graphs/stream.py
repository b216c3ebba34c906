"""Run a node that gives several answers: a generator, or an asynchronous one."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Any

from configs.errors import MillraceError, NodeError
from configs.tensors import Rows
from graphs.instances import Instance
from graphs.segment import checked

_END = object()


async def stream(instance: Instance, rows: Rows) -> AsyncGenerator[Rows]:
    """The outputs that the node yields, one after another; each has rows of its own number.

    A plain generator runs in threads, step by step, so that it may block. Whoever stops listening closes the generator.

    Raises:
        InvalidInput: the node refused the rows.
        NodeError: it failed, or yielded something that is not its outputs.
    """
    generator = instance.call(rows)
    steps = generator if isinstance(generator, AsyncGenerator) else _in_threads(generator)
    try:
        async for outputs in steps:
            yield checked(instance, outputs, None)
    except (MillraceError, asyncio.CancelledError):
        raise
    except Exception as error:  # the edge to user code, which may raise anything: the caller must hear of it
        raise NodeError(f"node {instance.name} failed: {type(error).__name__}: {error}") from error
    finally:
        await steps.aclose()


async def _in_threads(generator: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    try:
        while (outputs := await asyncio.to_thread(next, generator, _END)) is not _END:
            yield outputs
    finally:
        await asyncio.to_thread(generator.close)
