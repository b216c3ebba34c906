"""Loads the models of a node of many: each with its own thread, all alike."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.errors import ConfigError, InvalidInput, MissingExtra, ModelError
from configs.graph import MODEL, ModelNode, ModelsNode
from configs.log import LOGGER
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from graphs.batcher import Batcher, most_bytes
from graphs.flat import FlatNode
from graphs.instances import Instance, load_instance, warm_up
from graphs.segment import call_node
from graphs.slot import Called
from servables.base import LoadOptions
from servables.memory import Measured, Memory, files_memory
from servables.shelf import Pick, Shelf

logger = logging.getLogger(LOGGER)

EACH = Memory(host=64 << 10)
"""What a loaded model takes beside its own memory: Python's objects, a thread's stack."""


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
        """As much as its files, and what every model takes."""
        version = self._shelf.local(pick)
        try:
            return files_memory(version.path, self._options.device) + EACH
        finally:
            version.release()

    def load(self, pick: Pick) -> tuple[Loaded, Memory]:
        """Load and warm up. Raises ModelError, also for a model that is not like the others."""
        try:
            return self._load(pick)
        except (ConfigError, MissingExtra) as error:  # this version's fault: an older one may load
            raise ModelError(error.message) from error

    def _load(self, pick: Pick) -> tuple[Loaded, Memory]:
        started = time.perf_counter()
        instance = load_instance(self._node_of(pick), self._root, self._options, pick.number, pick.content)
        try:
            self._check(pick, instance.signature)
            warm_up(instance)
        except BaseException:
            instance.close()
            raise
        known = isinstance(instance.call, Measured)
        memory = instance.call.memory() + EACH if known else self.expected(pick)  # type: ignore[attr-defined]
        logger.info("%s loaded in %.2f s: %s", instance.name, time.perf_counter() - started, memory)
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
        # One row warms it up: the request for which it is loaded waits, and others want the CPU.
        made = ModelNode.model_validate({**fields, "batch": {"max_rows": 1}, "outputs": config.outputs})
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


def _call_of(node: str, instance: Instance) -> Callable[[Rows, int], tuple[Rows, dict[Called, float]]]:
    takes = instance.signature.inputs or {}

    def call(rows: Rows, count: int) -> tuple[Rows, dict[Called, float]]:
        started = time.perf_counter()
        for name, spec in takes.items():  # each model has its own word on them
            _check_fits(instance.name, name, spec, rows[name])
        outputs = call_node(instance, rows, count)
        # Without the version: a time series for each of many models would be too many.
        return outputs, {Called(node, ""): time.perf_counter() - started}

    return call


def _check_fits(node: str, name: str, spec: TensorSpec, array: np.ndarray) -> None:
    """Raises InvalidInput for an array that a model does not take."""
    wanted = spec.shape[1:]
    alike = len(wanted) == array.ndim - 1 and all(
        size in (-1, found) for size, found in zip(wanted, array.shape[1:], strict=True)
    )
    if not alike or spec.datatype != Datatype.of(array):
        found = TensorSpec(datatype=Datatype.of(array), shape=(-1, *array.shape[1:]))
        raise InvalidInput(f"{node} takes {name} as {spec}, but it is {found}")


def _alike(wanted: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> bool:
    return set(wanted) == set(found) and all(spec.fits(found[name]) for name, spec in wanted.items())


def _shown(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name} {spec}" for name, spec in sorted(specs.items()))
