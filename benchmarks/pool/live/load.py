"""The load generator: each request at its moment, whatever becomes of those before, and each answer compared."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from benchmarks.pool.live.models import ROW, Model
from benchmarks.pool.live.plan import POPULAR, Ask
from benchmarks.versions.ask import Connections, Lost, post

_CLOSE = 1e-5


@dataclass(slots=True)
class Sent:
    """One request. Seconds from the beginning of the plan."""

    model: int
    part: int
    planned: float
    sent: float
    ended: float
    right: bool


@dataclass
class Outcome:
    """What became of a plan."""

    requests: list[Sent] = field(default_factory=list)
    """In the order in which they were planned."""
    wrong: Counter[str] = field(default_factory=Counter)
    """Why an answer was none, or not the model's own."""
    busy: float = 0.0
    """The generator's CPU time, as a share of one core."""


class Load:
    """Requests for the models of one family.

    Args:
        header: that names the model.
    """

    def __init__(self, port: int, family: str, header: str, models: Sequence[Model]) -> None:
        body = orjson.dumps({"x": ROW.tolist()})
        self._requests = [post(f"/{family}", body, f"{header}: {model.name}\r\n") for model in models]
        self._models = models
        self._connections = Connections(port)

    async def warm(self) -> None:
        """Ask for the popular models a few times."""
        for number in range(20 * POPULAR):
            await self._wrong(number % POPULAR)
        self._connections.close()

    async def run(self, plan: Sequence[Ask]) -> Outcome:
        """Send them all."""
        outcome, cpu, began = Outcome(), time.process_time(), time.monotonic()
        tasks = []
        for ask in plan:
            if (early := began + ask.at - time.monotonic()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.create_task(self._send(ask, began, outcome)))
        outcome.requests = await asyncio.gather(*tasks)
        outcome.busy = (time.process_time() - cpu) / (time.monotonic() - began)
        self._connections.close()
        return outcome

    async def _send(self, ask: Ask, began: float, outcome: Outcome) -> Sent:
        sent = time.monotonic() - began
        wrong = await self._wrong(ask.model)
        if wrong:
            outcome.wrong[wrong] += 1
        return Sent(ask.model, ask.part, ask.at, sent, time.monotonic() - began, not wrong)

    async def _wrong(self, model: int) -> str:
        """Why the answer is not right; empty if it is."""
        try:
            answer = orjson.loads(await self._connections.ask(self._requests[model]))["y"]
        except Lost as lost:
            return str(lost)
        right = np.allclose(answer, self._models[model].answer, rtol=_CLOSE, atol=_CLOSE)
        return "" if right else "another model's answer, or none of these models'"
