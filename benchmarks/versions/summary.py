"""What a run left, judged."""

from collections import Counter
from itertools import chain

import numpy as np

from benchmarks.versions.judge import Split, between, first_answers, of_stream, split, tail, unknown, unwanted
from benchmarks.versions.models import WIDTH
from benchmarks.versions.outcome import ALONE, EVERY, SWAPS, Judged, Outcome, Part, Second
from benchmarks.versions.records import NONE, Records
from benchmarks.versions.run import Seen


def summarise(proxy: str, machine: dict[str, str], seen: Seen) -> Outcome:
    """The outcome. Raises ValueError if a version answered that did not go through every phase."""
    records, requests = seen.records, seen.records.requests
    seconds = max(float(requests["planned"].max() - requests["planned"].min()), 1e-9)
    first = {model: first_answers(records, model) for model in WIDTH}
    return Outcome(
        proxy,
        machine,
        seen.capacity,
        len(requests) / seconds,
        records.busy,
        [judged(records, part) for part in seen.parts],
        {protocol: _counts(records, protocol) for protocol in dict.fromkeys(p for _, p in records.streams)},
        dict(Counter(f"{stream}: {why}" for _, stream, why in records.lost)),
        list(chain(*(unwanted(records, model, history) for model, history in seen.histories.items()))),
        sum(unknown(records, model, seen.published[model]) for model in WIDTH),
        [each for part in seen.parts if part.name.startswith(ALONE) for each in _splits(seen, part, first)],
        [each for part in seen.parts if part.name == SWAPS for each in _splits(seen, part, first)],
        seen.parts[0].began,
        list(per_second(requests, seen.parts[0].began, seen.parts[-1].ended)),
        [(at, model) for model in WIDTH for version, at in first[model].items() if version > 1],
        seen.kills,
        seen.away_s,
        seen.stuck,
    )


def judged(records: Records, part: Part) -> Judged:
    """The requests that were planned in a part."""
    requests = between(records.requests, part.began, part.ended)
    tails = {model: tail(of_stream(records, requests, model, None)) for model in WIDTH}
    lost = int((requests["version"] == NONE).sum())
    behind = float(np.quantile(requests["sent"] - requests["planned"], 0.99) * 1e3)
    return Judged(part, len(requests), lost, {EVERY: tail(requests), **tails}, behind)


def per_second(requests: np.ndarray, began: float, ended: float) -> list[Second]:
    """Latencies of the answered requests of each second in which there were any."""
    requests = between(requests[requests["version"] != NONE], began, ended)
    requests = requests[np.argsort(requests["planned"])]
    second = (requests["planned"] - began).astype(int)
    latency = (requests["ended"] - requests["planned"]) * 1e3
    starts = np.unique(second, return_index=True)
    found = []
    for at, values in zip(starts[0], np.split(latency, starts[1][1:]), strict=True):
        p50, p99 = np.quantile(values, (0.5, 0.99))
        found.append(Second(int(at), float(p50), float(p99), float(values.max())))
    return found


def _counts(records: Records, protocol: str) -> tuple[int, int]:
    requests = of_stream(records, records.requests, None, protocol)
    return len(requests), int((requests["version"] == NONE).sum())


def _splits(seen: Seen, part: Part, first: dict[str, dict[int, float]]) -> list[Split]:
    found = []
    for model in WIDTH:
        published = {n: at for n, at in seen.published[model].items() if part.began <= at < part.ended}
        if published:
            found.append(split(model, published, seen.histories[model], first[model]))
    return found
