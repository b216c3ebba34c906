"""What a process of a job does: loads the nodes of one link, and takes parts through it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from graphs.executor import Executor
from graphs.instances import load_instance, warm_up
from jobs.chain import Link, apart
from jobs.memory import peak_mb
from jobs.part import Bad, Part
from jobs.scoring import Piece, Scored, cut, score
from jobs.versions import Version
from servables.base import LoadOptions


class Working:
    """One process of a link. Called by one thread.

    Args:
        versions: node → the version that it uses.
    """

    def __init__(self, link: Link, root: Path, versions: Mapping[str, Version]) -> None:
        self.stage = "+".join(link.nodes)
        """What reports and errors call it."""
        self._link = link
        self._loop = asyncio.new_event_loop()
        threads = max(1, int(link.cpus))
        device = "cuda:0" if link.gpus else "cpu"
        options = LoadOptions(device=device, gpu_fraction=min(link.gpus, 1.0), threads=threads)
        instances = {}
        for node in link.loaded:
            version = versions.get(node.name)
            known = () if version is None else (version.number, version.content)
            instances[node.name] = load_instance(node, root, options, *known)
            warm_up(instances[node.name])
        self._executor = Executor(apart(link.plan), instances, {}, threads=threads)

    def __call__(self, part: Part) -> Part:
        """The part with what the link's nodes give; rows that have no answer are among the bad ones."""
        started = time.perf_counter()
        scored = self.scored(part.pieces)
        bad = [Bad(row, self.stage, reason) for row, reason in sorted(scored.bad.items())]
        seconds = part.seconds | {self.stage: time.perf_counter() - started}
        peaks = part.peak_mb | {self.stage: peak_mb()}
        return replace(part, pieces=scored.pieces, bad=part.bad + bad, seconds=seconds, peak_mb=peaks)

    def scored(self, pieces: list[Piece]) -> Scored:
        """Rows with what the link's nodes give, without what no later link needs."""
        small = [each for piece in pieces for each in cut(piece.frame, piece.places, self._link.call_rows)]
        scored = self._loop.run_until_complete(score(self._executor, small))
        for piece in scored.pieces:
            piece.frame.keep(self._link.keeps)
        return scored

    def close(self) -> None:
        """End the threads, close the nodes."""
        self._executor.close()
        self._loop.close()
