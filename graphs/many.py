"""A node that is many models: each is loaded when it is asked for, and leaves when others need its memory."""

import asyncio
import logging
import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from configs.errors import (
    DeadlineExceeded,
    MillraceError,
    ModelError,
    NodeError,
    NotFound,
    Overloaded,
)
from configs.graph import MODEL, ModelsNode
from configs.log import LOGGER
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from graphs.batcher import BatchTiming
from graphs.flat import FlatNode
from graphs.models_source import Loaded, ModelsSource
from graphs.terms import UNHURRIED, Terms
from servables.base import LoadOptions
from servables.memory import Memory
from servables.pool import Pool
from servables.pooled import Counts
from servables.shelf import Pick, Shelf, name_in, unknown
from servables.sources.named import is_remote

logger = logging.getLogger(LOGGER)

LOOK_S = 2.0
"""Seconds after which the folders of loaded models are looked at again."""
FAR_LOOK_S = 30.0
"""The same where they lie behind a URL."""
FINDERS, LOOKERS = 16, 2
"""Folders that are looked into side by side, for requests and for new versions."""
UNKNOWN_S = 2.0
"""Seconds for which a model is taken not to be there, once it was not."""
MOST_UNKNOWN = 10_000
"""Such models that are remembered."""
TRIED = 3
"""Versions of a model that is not loaded which are tried, the newest first."""


class ManyModels:
    """Answers rows by the models that they name. Used from one event loop, that in which it was made.

    A new version of a loaded model is loaded beside the old one and takes its place when it is warm; one that does not
    load changes nothing. A model that is not loaded is asked for by its newest version that loads.

    Args:
        clock: seconds, that of deadlines.
    """

    def __init__(
        self, node: FlatNode, root: Path, options: LoadOptions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        assert isinstance(node.config, ModelsNode)
        self._node, self._clock = node, clock
        self._shelf = Shelf(node.config.models, root)
        outputs = node.config.outputs
        self._source = ModelsSource(node, self._shelf, root, options, Signature(outputs=outputs) if outputs else None)
        limit = Memory(host=node.config.max_bytes, gpu=0 if options.device == "cpu" else node.config.max_bytes)
        self._pool: Pool[Pick, Loaded] = Pool(self._source, limit, clock=clock)
        self._finders = ThreadPoolExecutor(FINDERS, "millrace-find")
        self._lookers = ThreadPoolExecutor(LOOKERS, "millrace-look")
        self._answering: dict[str, Pick] = {}
        """Model → the version that answers, of those that are loaded."""
        self._finding: dict[str, asyncio.Future[list[Pick]]] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        """Model → until when it is taken not to be there, the first to end first."""
        self._told: dict[str, Pick] = {}
        """Model → the version that the log told of last."""

    @property
    def counts(self) -> Counts:
        """What has happened in its pool."""
        return self._pool.counts

    @property
    def taken(self) -> Memory:
        """Bytes of the loaded models, and of those that are being loaded."""
        return self._pool.taken

    @property
    def loaded(self) -> list[Pick]:
        """The loaded models."""
        return self._pool.loaded

    async def signature(self) -> Signature:
        """Inputs and outputs of the node: those of its models, of which the first that loads is loaded for it.

        Raises ModelError: there is no model that loads, and the node does not declare its outputs.
        """
        if self._source.same is None:
            self._source.same = await self._first()
        inputs = self._source.same.inputs
        name = TensorSpec(datatype=Datatype.BYTES, shape=(-1,))
        return Signature(inputs=inputs and {MODEL: name, **inputs}, outputs=self._source.same.outputs)

    async def __call__(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> tuple[Rows, BatchTiming]:
        """Outputs for rows of one model.

        Args:
            rows: all with the same name in the input `model`.

        Raises:
            NotFound: there is no such model.
            NodeError: none of its versions loads.
            Overloaded: the caller gives no deadline, and it was not loaded in the node's `batch.max_wait_s`; or it has
                too much to do.
            DeadlineExceeded: it was not loaded, or did not answer, in time.
        """
        own = dict(rows)
        model = name_in(own.pop(MODEL)[0])
        started = self._clock()
        async with AsyncExitStack() as stack:
            loaded = await self._in_time(stack, model, terms)
            waited = self._clock() - started
            outputs, timing = await loaded.batcher(own, count, terms)
        return outputs, replace(timing, queue_s=timing.queue_s + waited)

    async def follow(self) -> None:
        """Look after new versions of the loaded models, until cancelled."""
        period_s = FAR_LOOK_S if is_remote(self._shelf.place) else LOOK_S
        while True:
            await asyncio.sleep(period_s * random.uniform(0.75, 1.25))
            await self.look()

    async def look(self) -> None:
        """Let the newest versions of the loaded models answer; waits a while for those that have to be loaded."""
        self._answering = {model: pick for model, pick in self._answering.items() if pick in self._pool}
        self._told = {model: pick for model, pick in self._told.items() if model in self._answering}
        await asyncio.gather(*(self._renew(model, pick) for model, pick in self._answering.items()))

    async def close(self) -> None:
        """Answer what is under way, and close all models."""
        await self._pool.close()
        self._finders.shutdown(wait=False)
        self._lookers.shutdown(wait=False)

    async def _in_time(self, stack: AsyncExitStack, model: str, terms: Terms) -> Loaded:
        hurried = terms.deadline < math.inf
        deadline = terms.deadline if hurried else self._clock() + self._node.batch.max_wait_s
        try:
            return await self._enter(stack, model, deadline)
        except ModelError as error:
            raise NodeError(f"node {self._node.name}: {error.message}") from error
        except DeadlineExceeded as error:
            if hurried:
                raise
            raise Overloaded(error.message, self._node.batch.max_wait_s) from error

    async def _enter(self, stack: AsyncExitStack, model: str, deadline: float = math.inf) -> Loaded:
        """The model, in use until the stack ends. Raises NotFound, ModelError, DeadlineExceeded."""
        failure: ModelError | None = None
        for pick in (await self._picks(model, deadline))[:TRIED]:
            try:
                loaded = await stack.enter_async_context(self._pool.use(pick, deadline))
            except ModelError as error:  # an older version may load
                self._tell(pick, error)
                failure = failure or error
            else:
                if (answering := self._answering.get(model)) is None or answering not in self._pool:
                    self._answering[model] = pick
                return loaded
        assert failure is not None
        raise failure

    async def _renew(self, model: str, pick: Pick) -> None:
        """Let the newest version of a loaded model answer, if it is another one. What fails now may not next time."""
        try:
            loop = asyncio.get_running_loop()
            newest = (await loop.run_in_executor(self._lookers, self._shelf.versions, model))[0]
            if newest != pick:
                await self._replace(model, pick, newest)
        except NotFound as error:
            self._tell(pick, error)
            self._answering.pop(model, None)
            self._pool.drop(pick)
        except MillraceError as error:
            self._tell(pick, error)
        except Exception:  # whatever one look found, it must end no other
            logger.exception("node %s: no new version of model %s could be looked for", self._node.name, model)

    async def _replace(self, model: str, pick: Pick, newest: Pick) -> None:
        try:
            deadline = self._clock() + self._node.batch.max_wait_s
            async with self._pool.use(newest, deadline, patient=True):
                self._answering[model] = newest
        except DeadlineExceeded as error:
            if self._pool.is_loading(newest):  # it is there at a later look
                return
            # Both find no room beside what is in use: requests wait until the old one has gone and this one is there.
            self._tell(newest, error)
            self._answering.pop(model, None)
        except ModelError as error:
            self._tell(newest, error)
            return
        logger.info("node %s: %s answers instead of %s", self._node.name, newest, pick)
        self._pool.drop(pick)

    async def _picks(self, model: str, deadline: float) -> list[Pick]:
        """The version that answers; of a model that is not loaded those to try."""
        pick = self._answering.get(model)
        return [pick] if pick is not None and pick in self._pool else await self._find(model, deadline)

    async def _find(self, model: str, deadline: float) -> list[Pick]:
        """The versions of a model, the newest first: one look for all who ask at the same time."""
        now = self._clock()
        if self._unknown.get(model, 0.0) > now:
            raise unknown(model)
        if model not in self._finding:
            loop = asyncio.get_running_loop()
            finding = self._finding[model] = loop.run_in_executor(self._finders, self._shelf.versions, model)
            finding.add_done_callback(partial(self._found, model))
        try:
            async with asyncio.timeout(None if deadline == math.inf else max(0.0, deadline - now)):
                return await asyncio.shield(self._finding[model])
        except TimeoutError:
            raise DeadlineExceeded(f"model {model} was not found in time; it may be there later") from None

    def _found(self, model: str, finding: asyncio.Future[list[Pick]]) -> None:
        del self._finding[model]
        if not finding.cancelled() and isinstance(finding.exception(), NotFound):
            self._unknown[model] = self._clock() + UNKNOWN_S
            self._unknown.move_to_end(model)
            if len(self._unknown) > MOST_UNKNOWN:
                self._unknown.popitem(last=False)

    async def _first(self) -> Signature:
        reasons = []
        for model in await asyncio.to_thread(self._shelf.names):
            try:
                async with AsyncExitStack() as stack:
                    return (await self._enter(stack, model)).signature
            except MillraceError as error:
                reasons.append(error.message)
        why = "; ".join(reasons[:3]) or f"{self._shelf.place} holds none"
        raise ModelError(f"node {self._node.name}: no model loads, and the node declares no `outputs`: {why}")

    def _tell(self, pick: Pick, error: MillraceError) -> None:
        """Log it once, not at each look."""
        if self._told.get(pick.model) != pick:
            self._told[pick.model] = pick
            logger.warning("node %s: version %d of model %s: %s", self._node.name, pick.number, pick.model, error)
