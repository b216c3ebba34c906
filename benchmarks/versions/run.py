"""A run behind one proxy: a server, load, versions that take over, and a control that is killed."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.isolation.live.server import Serving, serving
from benchmarks.versions.generator import Generator
from benchmarks.versions.kills import Kills
from benchmarks.versions.models import ALIASED, SWAPPED, WIDTH, Publisher, graph
from benchmarks.versions.outcome import ALONE, CALM, FLIPS, SWAPS, Part
from benchmarks.versions.records import Records
from benchmarks.versions.registry import NUMBERS, Registry
from rollouts.life import Phase
from rollouts.store import StateStore, Transition

BROKEN_EVERY = 5
"""Of so many versions, one cannot be loaded, while control is killed."""
KILL_EVERY_S = 10.0
_FAIL_S = 300
"""Longest time until a broken version is found out."""
_ALL = 1_000_000
"""More transitions than there are."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Amount:
    """How much is done."""

    calm_s: float
    alone: dict[str, int]
    """Model → swaps while nothing else goes on."""
    flips: int
    """How often the alias changes, once a second."""
    swaps: dict[str, int]
    """Model → swaps, of all models at the same time, while control is killed."""
    killed_s: float
    """After so long no further swap begins while control is killed: one takes as long as control needs to come back."""


@dataclass(frozen=True)
class Seen:
    """What a run leaves, to be judged."""

    capacity: float
    records: Records
    parts: list[Part]
    published: dict[str, dict[int, float]]
    """Model → version that can be loaded → when it was there."""
    histories: dict[str, list[Transition]]
    """Model → what happened to its versions, the first first."""
    kills: list[float]
    away_s: list[float]
    """How long control was away after a kill."""
    stuck: list[str]
    """What did not happen in time while control was killed."""


def run(proxy: str, amount: Amount, say: Say) -> Seen:
    """The whole run.

    Raises:
        RuntimeError: the server did not start, or a version did not get as far as it must; the end of the log is in it.
    """
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        publisher = Publisher(folder)
        for model in SWAPPED:
            publisher.publish(model, 1)
        registry = Registry(folder)
        say(f"{proxy}: starting a server …")
        server = stack.enter_context(serving([graph(model, folder) for model in WIDTH], proxy))
        store = StateStore(server.state_url)
        stack.callback(store.close)
        generator = Generator(server, folder)
        stack.callback(generator.kill)
        say(f"{proxy}: {generator.capacity:.0f} requests/s at most")
        try:
            swaps = _Swaps(publisher, registry, generator, store, say)
            swaps.all(amount, server)
            histories = {model: store.history(servable(model), _ALL)[::-1] for model in WIDTH}
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{server.log.read_text(errors='replace')[-5000:]}") from error
        return Seen(
            generator.capacity,
            generator.end(),
            swaps.parts,
            swaps.published,
            histories,
            swaps.kills,
            swaps.away_s,
            swaps.stuck,
        )


def servable(model: str) -> str:
    """What control calls it: its graph and its node."""
    return f"{model}.model"


class _Swaps:
    def __init__(
        self, publisher: Publisher, registry: Registry, generator: Generator, store: StateStore, say: Say
    ) -> None:
        self.parts: list[Part] = []
        self.published: dict[str, dict[int, float]] = {model: {1: 0.0} for model in WIDTH}
        self.published[ALIASED] = dict.fromkeys(NUMBERS, 0.0)
        self._publisher, self._registry, self._generator = publisher, registry, generator
        self._store, self._say = store, say
        self._last = dict.fromkeys(WIDTH, 1)
        self.kills: list[float] = []
        self.away_s: list[float] = []
        self.stuck: list[str] = []

    def all(self, amount: Amount, server: Serving) -> None:
        """Every part, one after the other."""
        with self._part(CALM):
            time.sleep(amount.calm_s)
        for model, count in amount.alone.items():
            with self._part(ALONE + model):
                self._swap(model, count)
        self._registry.point_to(NUMBERS[-1])  # so that it has been loaded, and flips are nothing but flips
        self._generator.wait(ALIASED, NUMBERS[-1])
        with self._part(FLIPS):
            self._flip(amount.flips)
        kills = Kills(server.pid, server.state_url, KILL_EVERY_S)
        self.kills, self.away_s = kills.at, kills.away_s
        with self._part(SWAPS), kills, ThreadPoolExecutor(len(SWAPPED)) as pool:
            until = time.monotonic() + amount.killed_s
            for done in [pool.submit(self._swap, model, count, until) for model, count in amount.swaps.items()]:
                if error := done.exception():  # the records of all that went before are not lost for it
                    self._say(str(error))
                    self.stuck.append(str(error))

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        self._say(f"{name} …")
        before, began = dict(self._last), time.time()
        yield
        new = [(m, number) for m in WIDTH for number in range(before[m] + 1, self._last[m] + 1)]
        working = {m: sum(model == m and number in self.published[m] for model, number in new) for m in WIDTH}
        broken = len(new) - sum(working.values())
        working[ALIASED] = self._followed(began)
        self.parts.append(Part(name, began, time.time(), working, broken, len(self.kills), os.getloadavg()[0]))

    def _flip(self, count: int) -> None:
        """Have the alias name one version and then the other, each second, whatever control has made of it."""
        began = time.monotonic()
        for flip in range(count):
            self._registry.point_to(NUMBERS[flip % len(NUMBERS)])
            time.sleep(max(0.0, began + flip + 1 - time.monotonic()))

    def _followed(self, since: float) -> int:
        """How often the traffic went to the other version that the alias names."""
        history = self._store.history(servable(ALIASED), _ALL)
        return sum(change.after is Phase.ROUTED and change.at >= since for change in history)

    def _swap(self, model: str, count: int, killed_until: float | None = None) -> None:
        """Publish one version after another, each when the one before has answered, or has failed.

        Args:
            killed_until: monotonic; while control is killed, some are broken, and none begins later.
        """
        left = count
        while left and (killed_until is None or time.monotonic() < killed_until):
            self._last[model] = number = self._last[model] + 1
            if killed_until is not None and number % BROKEN_EVERY == 0:
                self._publisher.publish(model, number, broken=True)
                self._wait_failed(model, number)
            else:
                self.published[model][number] = self._publisher.publish(model, number)
                self._generator.wait(model, number)
                left -= 1

    def _wait_failed(self, model: str, number: int) -> None:
        deadline = time.monotonic() + _FAIL_S
        while not any(
            change.key.number == number and change.after is Phase.FAILED
            for change in self._store.history(servable(model), 20)
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{model}: version {number} is broken, but has not failed after {_FAIL_S} s")
            time.sleep(0.5)
