"""A Serve application that is not Millrace's: a plain FastAPI ingress that answers at once, slowly, or in chunks."""

import asyncio
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from ray import serve

api = FastAPI()


@api.get("/plain")
async def plain() -> dict[str, int]:
    """Answers with its process id."""
    return {"pid": os.getpid()}


@api.get("/events")
async def events(count: int = 5, every_s: float = 0.2) -> StreamingResponse:
    """Server-sent events: numbers, one every so often."""
    return StreamingResponse(_numbers(count, every_s), media_type="text/event-stream")


async def _numbers(count: int, every_s: float) -> AsyncIterator[str]:
    for number in range(count):
        if number:
            await asyncio.sleep(every_s)
        yield f"data: {number}\n\n"


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
@serve.ingress(api)
class Foreign:
    """Nothing of ours."""


app = Foreign.bind()  # type: ignore[attr-defined]
