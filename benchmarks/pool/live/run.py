"""A run: one server after another, one family after another, calm and not in turns."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.online.launch import Running
from benchmarks.pool.live.judge import Latencies, judge
from benchmarks.pool.live.load import Load, Sent
from benchmarks.pool.live.models import FAMILIES, FIT, Model, make
from benchmarks.pool.live.plan import POPULAR, Part, asks, parts
from benchmarks.pool.live.servers import SERVERS
from benchmarks.pool.live.watch import Sample, Watch
from benchmarks.pool.lru import lru

Say = Callable[[str], None]


@dataclass(frozen=True)
class Amount:
    """How much is done."""

    rounds: int
    cycles: int
    calm_s: float
    zipf_s: float


@dataclass(frozen=True)
class Measured:
    """One family on one server, once."""

    server: str
    family: str
    limit: int
    """Bytes that fit."""
    sent: int
    wrong: Counter[str]
    """Why answers were not right."""
    without_load: float
    """Share of the requests for all models that no load was for."""
    ideal: float
    """The same if the least recently used left by bytes, and loads took no time."""
    latencies: Latencies
    behind: list[float]
    """Seconds after its planned moment that each request was sent."""
    samples: list[Sample]
    cores: float
    """That the server took on average, in the parts that are not calm as in those that are."""
    busy: float
    """Of the generator."""
    load_average: float


def run(folder: Path, families: Sequence[str], servers: Sequence[str], amount: Amount, say: Say) -> Iterator[Measured]:
    """Everything, round by round. Raises RuntimeError if a server does not start."""
    models = {}
    for name in families:
        say(f"{name}: making the models …")
        models[name] = make(FAMILIES[name], folder / name)
    limits = {name: FIT * sum(model.size for model in models[name]) // len(models[name]) for name in families}
    for number in range(amount.rounds):
        for name in servers[:: 1 if number % 2 == 0 else -1]:
            say(f"round {number + 1}, {name}: starting …")
            with SERVERS[name].started(folder, limits, {name: models[name][0] for name in families}) as running:
                for family in families:
                    yield _measure(name, family, running, models[family], limits[family], amount, number)
                    say(f"round {number + 1}, {name}, {family}: measured")


def _measure(
    name: str, family: str, running: Running, models: Sequence[Model], limit: int, amount: Amount, seed: int
) -> Measured:
    server, turns = SERVERS[name], parts(amount.cycles, amount.calm_s, amount.zipf_s)
    load = Load(running.ports.http, family, server.header, models)
    plan = asks(turns, len(models), FAMILIES[family].rate, seed)
    uvloop.run(load.warm())
    watch = Watch(server, running, family)
    before, cpu, began = watch.settled(), watch.cpu_s(), time.monotonic()
    with watch.watching():
        outcome = uvloop.run(load.run(plan))
    cores = (watch.cpu_s() - cpu) / (time.monotonic() - began)
    loads = watch.settled().loads - before.loads
    sizes = [model.size for model in models]
    return Measured(
        name,
        family,
        limit,
        len(plan),
        outcome.wrong,
        without_load(loads, outcome.requests, turns),
        without_load(_ideal_loads(outcome.requests, sizes, limit), outcome.requests, turns),
        judge(outcome.requests, turns, sizes, limit),
        [request.sent - request.planned for request in outcome.requests],
        watch.samples,
        cores,
        outcome.busy,
        os.getloadavg()[0],
    )


def without_load(loads: int, requests: Sequence[Sent], turns: Sequence[Part]) -> float:
    """The share of requests for all models that no load was for."""
    return 1 - loads / sum(not turns[request.part].calm for request in requests)


def _ideal_loads(requests: Sequence[Sent], sizes: Sequence[int], limit: int) -> int:
    asked = [*range(POPULAR), *(request.model for request in requests)]
    names = {str(model): size for model, size in enumerate(sizes)}
    found = lru([str(model) for model in asked], names, limit, by_bytes=True)
    return round((1 - found.hit_rate) * len(asked)) - POPULAR
