"""Run a node that gives several answers: a generator, or an asynchronous one."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

from configs.errors import MillraceError, NodeError
from configs.tensors import Rows
from graphs.instances import Instance
from graphs.segment import checked

_END = object()


async def stream(instance: Instance, rows: Rows) -> AsyncGenerator[Rows]:
    """The outputs that the node yields, one after another; each has rows of its own number.

    A plain generator runs in a thread of its own, so that it may block. Whoever stops listening closes the generator.

    Raises:
        InvalidInput: the node refused the rows.
        NodeError: it failed, or yielded something that is not its outputs.
    """
    generator = instance.call(rows)
    steps = generator if isinstance(generator, AsyncGenerator) else _in_a_thread(generator)
    try:
        async for outputs in steps:
            yield checked(instance, outputs, None)
    except (MillraceError, asyncio.CancelledError):
        raise
    except Exception as error:  # the edge to user code, which may raise anything: the caller must hear of it
        raise NodeError(f"node {instance.name} failed: {type(error).__name__}: {error}") from error
    finally:
        await steps.aclose()


async def _in_a_thread(generator: Generator[Any, None, None]) -> AsyncGenerator[Any, None]:
    loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, "millrace-stream")

    def step(context: Context) -> Any:
        return context.run(lambda: next(generator, _END))

    try:
        while (outputs := await loop.run_in_executor(thread, step, copy_context())) is not _END:
            yield outputs
    except asyncio.CancelledError:  # the step under way cannot be interrupted: nobody waits until it is closed
        thread.submit(generator.close)
        raise
    except GeneratorExit:
        await loop.run_in_executor(thread, generator.close)
        raise
    finally:
        thread.shutdown(wait=False)
