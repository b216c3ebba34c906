"""A node that is many models: each is loaded when it is asked for, and leaves when others need its memory."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from configs.errors import DeadlineExceeded, MillraceError, ModelError, NotFound, Overloaded
from configs.graph import MODEL, ModelNode, ModelsNode
from configs.log import LOGGER
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from graphs.batcher import Batcher, BatchTiming, most_bytes
from graphs.flat import FlatNode
from graphs.instances import Instance, load_instance, warm_up
from graphs.segment import call_node
from graphs.slot import Called
from graphs.terms import UNHURRIED, Terms
from servables.base import LoadOptions
from servables.memory import Measured, Memory, files_memory
from servables.pool import Pool
from servables.pooled import Counts
from servables.shelf import Pick, Shelf

logger = logging.getLogger(LOGGER)

LOOK_S = 2.0
"""Seconds after which the folders of loaded models are looked at again."""
TRIED = 3
"""Versions of a model that is not loaded which are tried, the newest first."""


@dataclass(frozen=True)
class Loaded:
    """A model that answers, with the thread that calls it."""

    signature: Signature
    batcher: Batcher[str]
    close: Callable[[], object]


class ModelsSource:
    """Loads the models of one node, as `servables.pooled.Source`. Its methods are called in threads.

    Args:
        same: what all models take and give; None: the first one that loads says it.
    """

    def __init__(self, node: FlatNode, shelf: Shelf, root: Path, options: LoadOptions, same: Signature | None) -> None:
        assert isinstance(node.config, ModelsNode)
        self._node, self._config, self._shelf, self._root, self._options = node, node.config, shelf, root, options
        self.same = same

    def expected(self, pick: Pick) -> Memory:
        """As much as its files."""
        version = self._shelf.local(pick)
        try:
            return files_memory(version.path, self._options.device)
        finally:
            version.release()

    def load(self, pick: Pick) -> tuple[Loaded, Memory]:
        """Load and warm up. Raises ModelError, also for a model that is not like the others."""
        instance = load_instance(self._node_of(pick), self._root, self._options, pick.number, pick.content)
        try:
            self._check(pick, instance.signature)
            warm_up(instance)
        except BaseException:
            instance.close()
            raise
        known = isinstance(instance.call, Measured)
        memory = instance.call.memory() if known else self.expected(pick)  # type: ignore[attr-defined]
        batcher: Batcher[str] = Batcher(
            _call_of(self._node.name, instance),
            self._node.batch,
            f"{self._node.name} ({pick})",
            most_bytes(self._config),
        )
        return Loaded(instance.signature, batcher, instance.close), memory

    def close(self, model: Loaded) -> None:
        """End its thread and free its memory."""
        model.batcher.close()
        model.close()

    def _node_of(self, pick: Pick) -> FlatNode:
        """The model as a node of its own, whose name tells which it is."""
        config = self._config
        fields = {"model": f"{self._shelf.place}/{pick.model}", "format": config.format, "trust": config.trust}
        inputs = {name: edges for name, edges in self._node.inputs.items() if name != MODEL}
        made = ModelNode.model_validate({**fields, "batch": config.batch, "outputs": config.outputs})
        return FlatNode(f"{self._node.name} ({pick})", made, inputs)

    def _check(self, pick: Pick, signature: Signature) -> None:
        if self.same is None:
            return
        for what in ("inputs", "outputs"):
            wanted, found = getattr(self.same, what), getattr(signature, what)
            if wanted is not None and found is not None and not _alike(wanted, found):
                raise ModelError(
                    f"model {pick} has the {what} {_shown(found)}, but the models of node {self._node.name} have "
                    f"{_shown(wanted)}; all of them must be alike"
                )


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
        self._pool: Pool[Pick, Loaded] = Pool(self._source, _limit(node.config, options.device), clock=clock)
        self._answering: dict[str, Pick] = {}
        """Model → the version that answers, of those that are loaded."""
        self._finding: dict[str, asyncio.Task[list[Pick]]] = {}
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
            ModelError: none of its versions loads.
            Overloaded: the caller gives no deadline, and it was not loaded in the node's `batch.max_wait_s`; or it has
                too much to do.
            DeadlineExceeded: it was not loaded, or did not answer, in time.
        """
        own = dict(rows)
        model = _text(own.pop(MODEL)[0])
        async with AsyncExitStack() as stack:
            loaded = await self._enter(stack, model, terms)
            return await loaded.batcher(own, count, terms)

    async def follow(self) -> None:
        """Look after new versions of the loaded models, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception:  # whatever one look found, the next one may go well
                logger.exception("node %s: the models' new versions could not be looked for", self._node.name)

    async def look(self) -> None:
        """Let the newest versions of the loaded models answer; waits a while for those that have to be loaded."""
        loaded = set(self._pool.loaded)
        self._answering = {model: pick for model, pick in self._answering.items() if pick in loaded}
        self._told = {model: pick for model, pick in self._told.items() if model in self._answering}
        await asyncio.gather(*(self._renew(model, pick) for model, pick in self._answering.items()))

    async def close(self) -> None:
        """Answer what is under way, and close all models."""
        await self._pool.close()

    async def _enter(self, stack: AsyncExitStack, model: str, terms: Terms) -> Loaded:
        """The model, in use until the stack ends. Raises as `__call__`."""
        deadline = terms.deadline if terms.deadline < math.inf else self._clock() + self._node.batch.max_wait_s
        failure: MillraceError | None = None
        for pick in (await self._picks(model))[:TRIED]:
            try:
                loaded = await stack.enter_async_context(self._pool.use(pick, deadline))
            except ModelError as error:  # an older version may load
                self._tell(pick, error)
                failure = failure or error
            except DeadlineExceeded as error:
                if self._clock() >= terms.deadline:
                    raise
                raise Overloaded(error.message, self._node.batch.max_wait_s) from error
            else:
                self._answering.setdefault(model, pick)
                return loaded
        assert failure is not None
        raise failure

    async def _renew(self, model: str, pick: Pick) -> None:
        try:
            newest = (await self._find(model))[0]
        except NotFound as error:
            self._tell(pick, error)
            self._answering.pop(model, None)
            self._pool.drop(pick)
            return
        except MillraceError as error:  # its place cannot be read now
            self._tell(pick, error)
            return
        if newest == pick:
            return
        try:
            async with self._pool.use(newest, self._clock() + self._node.batch.max_wait_s):
                self._answering[model] = newest
        except MillraceError as error:
            self._tell(newest, error)
            return
        logger.info("node %s: %s answers instead of %s", self._node.name, newest, pick)
        self._pool.drop(pick)

    async def _picks(self, model: str) -> list[Pick]:
        """The version that answers; of a model that is not loaded those to try."""
        pick = self._answering.get(model)
        return [pick] if pick is not None else await self._find(model)

    async def _find(self, model: str) -> list[Pick]:
        """The versions of a model, the newest first: one look for all who ask at the same time."""
        if model not in self._finding:
            task = self._finding[model] = asyncio.create_task(asyncio.to_thread(self._shelf.versions, model))
            task.add_done_callback(partial(self._found, model))
        return await asyncio.shield(self._finding[model])

    def _found(self, model: str, task: asyncio.Task[list[Pick]]) -> None:
        del self._finding[model]
        if not task.cancelled():
            task.exception()  # asked, or asyncio complains where all who waited have left

    async def _first(self) -> Signature:
        reasons = []
        for model in await asyncio.to_thread(self._shelf.names):
            try:
                async with AsyncExitStack() as stack:
                    return (await self._enter(stack, model, UNHURRIED)).signature
            except MillraceError as error:
                reasons.append(error.message)
        why = "; ".join(reasons[:3]) or f"{self._shelf.place} holds none"
        raise ModelError(f"node {self._node.name}: no model loads, and the node declares no `outputs`: {why}")

    def _tell(self, pick: Pick, error: MillraceError) -> None:
        """Log it once, not at each look."""
        if self._told.get(pick.model) != pick:
            self._told[pick.model] = pick
            logger.warning("node %s: version %d of model %s: %s", self._node.name, pick.number, pick.model, error)


def _call_of(node: str, instance: Instance) -> Callable[[Rows, int], tuple[Rows, dict[Called, float]]]:
    def call(rows: Rows, count: int) -> tuple[Rows, dict[Called, float]]:
        started = time.perf_counter()
        outputs = call_node(instance, rows, count)
        # Without the version: a time series for each of many models would be too many.
        return outputs, {Called(node, ""): time.perf_counter() - started}

    return call


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _limit(config: ModelsNode, device: str) -> Memory:
    """Only the memory of the device that the models are on is scarce."""
    if device == "cpu":
        return Memory(host=config.max_bytes, gpu=0)
    return Memory(host=2**62, gpu=config.max_bytes)


def _alike(wanted: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> bool:
    return set(wanted) == set(found) and all(spec.fits(found[name]) for name, spec in wanted.items())


def _shown(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name} {spec}" for name, spec in sorted(specs.items()))
