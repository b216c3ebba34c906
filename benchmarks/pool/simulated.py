"""The real pool on a clock that jumps: loads and calls take time, and no time passes."""

import asyncio
import selectors
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

from configs.errors import MillraceError
from servables.memory import Memory
from servables.pool import Pool

CALL_S = 0.002
"""One call of a model."""
LOAD_S_PER_BYTE = 0.1 / 10e6
"""As a 10 MB model that loads in 0.1 s: about what PyTorch, scikit-learn and onnxruntime take."""
CLOSE_S = 0.001
PATIENCE_S = 10.0


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its clock jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.now = 0.0

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    """Where a loop would wait, it lets the time pass."""

    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        self._loop.now += timeout or 0.0
        return super().select(0)


class Threads(Executor):
    """What a thread would do is done when its time has passed."""

    def __init__(self, seconds: Callable[[str, Any], float]) -> None:
        self._seconds = seconds

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        seconds = self._seconds(function.__name__, arguments[0])
        asyncio.get_running_loop().call_later(seconds, lambda: future.set_result(function(*arguments)))
        return future


@dataclass
class Models:
    """Models that are their names."""

    sizes: Mapping[str, int]
    files: float
    """Size of their files, as a part of what they take."""
    taken: int = 0
    most: int = 0

    def expected(self, key: str) -> Memory:
        return Memory(int(self.sizes[key] * self.files))

    def load(self, key: str) -> tuple[str, Memory]:
        self.taken += self.sizes[key]
        self.most = max(self.most, self.taken)
        return key, Memory(self.sizes[key])

    def close(self, model: str) -> None:
        self.taken -= self.sizes[model]


@dataclass
class Run:
    """What the requests met with."""

    hit_rate: float = 0.0
    most_bytes: int = 0
    loads: int = 0
    wrong: int = 0
    failed: int = 0
    warm_s: list[float] = field(default_factory=list)
    """Waits of requests whose model was loaded."""
    cold_s: list[float] = field(default_factory=list)
    """Waits of the others."""


def simulate(
    asked: Sequence[str], gaps_s: Sequence[float], sizes: Mapping[str, int], limit: int, files: float = 1.0
) -> Run:
    """Send each request so long after the one before, whatever becomes of those.

    Args:
        files: size of the models' files, as a part of what they take.
    """
    loop = JumpingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_run(loop, asked, gaps_s, Models(sizes, files), limit))


async def _run(loop: JumpingLoop, asked: Sequence[str], gaps_s: Sequence[float], models: Models, limit: int) -> Run:
    def seconds(work: str, argument: str) -> float:
        return {"load": LOAD_S_PER_BYTE * models.sizes[argument], "close": CLOSE_S, "expected": 0.0}[work]

    run = Run()
    pool: Pool[str, str] = Pool(models, Memory(limit), Threads(seconds), loop.time)
    tasks = []
    for key, gap_s in zip(asked, gaps_s, strict=True):
        await asyncio.sleep(gap_s)
        tasks.append(asyncio.create_task(_request(loop, pool, key, run)))
    await asyncio.gather(*tasks)
    await pool.close()
    assert models.taken == 0
    run.hit_rate = pool.counts.hits / len(asked)
    run.most_bytes, run.loads = models.most, pool.counts.loads
    return run


async def _request(loop: JumpingLoop, pool: Pool[str, str], key: str, run: Run) -> None:
    asked, warm = loop.time(), key in pool.loaded
    try:
        async with pool.use(key, asked + PATIENCE_S) as model:
            (run.warm_s if warm else run.cold_s).append(loop.time() - asked)
            run.wrong += model != key
            await asyncio.sleep(CALL_S)
    except MillraceError:
        run.failed += 1
