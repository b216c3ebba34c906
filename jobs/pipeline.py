"""A job on Ray Data: a reader, processes for each link, files at the end. Parts stream through; few are in memory."""

import logging
import pickle
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, TaskPoolStrategy
from ray.util.annotations import RayDeprecationWarning

from jobs.chain import Link
from jobs.cluster import own_error
from jobs.finishing import Finishing
from jobs.part import COLUMN, Part
from jobs.progress import Told, counting
from jobs.reader import READ, Reader
from jobs.tally import Finished
from jobs.units import Unit
from jobs.versions import Version
from jobs.working import Working

READERS = 2
"""Units that are read side by side. They book no CPUs: the processes of the nodes may have booked all of them."""

RETRIES = 3
"""How often a part is taken up again whose process died; Ray Data would for ever, even if a row is what ends it."""

Block = dict[str, np.ndarray]


class Process:
    """A process of a pool: one link, and for the last one what makes files of its parts."""

    def __init__(
        self, link: Link, root: Path, versions: Mapping[str, Version], finishing: Finishing | None, counts: Any
    ) -> None:
        self._working = Working(link, root, versions)
        self._finishing = finishing
        self._counts = counts

    def __call__(self, block: Block) -> Block:
        """Ray Data's call: one part in, one out, or what is to be known of it when its files are there."""
        part = self._working(Part.unpacked(block[COLUMN][0]))
        done = part.packed() if self._finishing is None else pickle.dumps(self._finishing(part))
        self._counts.add.remote(self._working.stage, part.name, part.rows)
        return _block(done)


@dataclass(frozen=True)
class Work:
    """What is to be done on which units."""

    units: Sequence[Unit]
    reader: Reader
    links: Sequence[Link]
    root: Path
    versions: Mapping[str, Version]
    """Node → the version that it uses."""
    finishing: Finishing


def finished_parts(work: Work, told: Told) -> Generator[Finished]:
    """Do it: gives each part when its files are whole.

    Ray must be initialised. To stop early, close the iterator.

    Args:
        told: hears from another thread how far each stage is.

    Raises:
        MillraceError: what ended the job: a model that does not load, a file that cannot be written.
    """
    with counting(told) as counts:
        with _settings():
            data = _dataset(work, counts)
        try:
            for row in data.iter_rows():
                part: Finished = pickle.loads(row[COLUMN])  # made by `Process`
                yield part
        except ray.exceptions.RayError as error:
            raise own_error(error) from error


@contextmanager
def _settings() -> Iterator[None]:
    """Of the data sets that are made in it; the caller's own have theirs."""
    before = DataContext.get_current()
    context = before.copy()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # a part is a block: it goes on as soon as it is read
    context.execution_no_progress_timeout_s = -1  # a part may take hours
    context.raise_original_map_exception = True  # with its reason, which Ray's own error loses on its way
    with DataContext.current(context), warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)  # until 2.64 nothing else says `max_task_retries`
        yield


def _dataset(work: Work, counts: Any) -> Dataset:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it tells of plans, and of errors that are raised, too
    items = [{COLUMN: pickle.dumps(unit)} for unit in work.units]
    data = ray.data.from_items(items, override_num_blocks=len(items))
    readers = TaskPoolStrategy(size=min(READERS, len(work.units)))  # Ray warns of more than there are inputs
    data = data.map_batches(_reading(work.reader, counts), batch_size=1, num_cpus=0, compute=readers)
    for link in work.links:
        last = link is work.links[-1]
        data = data.map_batches(
            Process,
            fn_constructor_args=(link, work.root, work.versions, work.finishing if last else None, counts),
            batch_size=1,
            num_cpus=link.cpus,
            num_gpus=link.gpus or None,
            max_task_retries=RETRIES,
            compute=ActorPoolStrategy(min_size=link.replicas.min, max_size=link.replicas.max),
        )
    return data


def _reading(reader: Reader, counts: Any) -> Callable[[Block], Iterator[Block]]:
    def read(block: Block) -> Iterator[Block]:
        for part in reader(pickle.loads(block[COLUMN][0])):
            counts.add.remote(READ, part.name, part.rows)
            yield _block(part.packed())

    return read


def _block(data: bytes) -> Block:
    column = np.empty(1, object)
    column[0] = data
    return {COLUMN: column}
