"""Run a fused step on a batch: its nodes one after another, models of the same wave side by side."""

import operator
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from configs.errors import MillraceError, NodeError, RowErrors
from configs.graph import EnsembleNode, ModelNode, RetrieveNode
from configs.tensors import Rows
from graphs.batcher import BatchCall
from graphs.flat import Edge, FlatNode
from graphs.frame import Frame
from graphs.instances import Instance
from graphs.plan import DECIDE, Plan, Step
from graphs.slot import Called, Slot

EdgeRows = dict[Edge, np.ndarray]

_MODELS = (ModelNode, RetrieveNode)


@dataclass(frozen=True)
class _Unit:
    name: str
    node: FlatNode
    slot: Slot[Instance] | None
    """None for a merge, which has no code of its own."""


class Segment:
    """The nodes of one fused step, called with the rows of many requests at once. Thread-compatible."""

    def __init__(self, plan: Plan, step: Step, slots: Mapping[str, Slot[Instance]], threads: int = 1) -> None:
        self._plan = plan
        self._step = step
        self._waves = _waves(plan, step, slots)
        self._pool = ThreadPoolExecutor(threads, "millrace-branch") if threads > 1 and self._has_branches() else None

    def __call__(self, rows: EdgeRows, count: int) -> tuple[EdgeRows, dict[Called, float]]:
        """Compute the step's outputs and the seconds each node took.

        Raises:
            InvalidInput: a node refused the rows.
            NodeError: a node failed or returned something that is not its outputs.
        """
        frame = Frame(count, self._step.scope, self._plan.cases, self._plan.scope_of)
        for edge, value in rows.items():
            frame.put(edge, value)
        seconds: dict[Called, float] = {}
        for wave in self._waves:
            self._run_wave(wave, frame, seconds)
        return {edge: frame.get(edge, self._step.scope) for edge in self._step.writes}, seconds

    def close(self) -> None:
        """Stop the helper threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _has_branches(self) -> bool:
        return any(len(wave) > 1 for wave in self._waves)

    def _run_wave(self, wave: list[_Unit], frame: Frame, seconds: dict[Called, float]) -> None:
        if self._pool is None or len(wave) == 1:
            for unit in wave:
                self._run_unit(unit, frame, seconds)
            return
        beside: list[Future[None]] = [self._pool.submit(self._run_unit, unit, frame, seconds) for unit in wave[1:]]
        try:
            self._run_unit(wave[0], frame, seconds)
        finally:
            errors = [future.exception() for future in beside]
        for error in errors:
            if error is not None:
                raise error

    def _run_unit(self, unit: _Unit, frame: Frame, seconds: dict[Called, float]) -> None:
        node, scope = unit.node, self._plan.scope_of[unit.node.name]
        count = frame.count(scope)
        if count == 0:
            return
        if unit.slot is None:
            outputs = frame.merge(node.name, node.cases)
        else:
            started = time.perf_counter()
            try:
                with unit.slot.used() as instance:
                    outputs = call_node(instance, gather(node, frame, self._plan), count)
            except RowErrors as error:  # rows of a switch's case: which are they of the call's?
                raise error.at(frame.rows(scope).tolist()) from error
            seconds[Called(node.name, instance.version)] = time.perf_counter() - started
        for output, value in outputs.items():
            frame.put(Edge(node.name, output), value)


def gather(node: FlatNode, frame: Frame, plan: Plan) -> Rows:
    """A node's named inputs, for the rows of its scope; an ensemble's members as `0`, `1`, …."""
    scope = plan.scope_of[node.name]
    if isinstance(node.config, EnsembleNode):
        return {str(index): frame.get(edge, scope) for index, edge in enumerate(node.inputs["members"])}
    return {name: frame.get(edges[0], scope) for name, edges in node.inputs.items()}


def call_node(instance: Instance, inputs: Rows, count: int) -> Rows:
    """Call a node and check what it returns: a mapping of arrays with `count` rows each."""
    try:
        return checked(instance, instance.call(inputs), count)
    except RowErrors as error:
        raise blamed(instance, error, count) from error
    except MillraceError:
        raise
    except Exception as error:  # the edge to user code, which may raise anything: the request must get an answer
        raise NodeError(f"node {instance.name} failed: {type(error).__name__}: {error}") from error


def blamed(instance: Instance, error: RowErrors, count: int) -> MillraceError:
    """What a node raises for some rows; NodeError if it names rows that the call did not have."""
    try:
        reasons = {operator.index(row): str(why) for row, why in error.reasons.items()}
    except TypeError:
        return NodeError(f"node {instance.name} raised RowErrors({error.reasons!r}); its keys must be indices of rows")
    if not reasons or min(reasons) < 0 or max(reasons) >= count:
        return NodeError(
            f"node {instance.name} raised RowErrors for rows {sorted(reasons)}, but the call had {count} rows; "
            f"name rows from 0 to {count - 1}"
        )
    return RowErrors(reasons)


def timed_call(slot: Slot[Instance]) -> BatchCall[str]:
    """A node's call for its own batcher."""

    def call(rows: Rows, count: int) -> tuple[Rows, dict[Called, float]]:
        started = time.perf_counter()
        with slot.used() as instance:
            outputs = call_node(instance, rows, count)
        return outputs, {Called(instance.name, instance.version): time.perf_counter() - started}

    return call


def checked(instance: Instance, outputs: object, count: int | None) -> Rows:
    """The outputs of a node as arrays. Raises NodeError that says what the node should have returned.

    Args:
        count: rows that each must have; None: any number.
    """
    name = instance.name
    if not isinstance(outputs, Mapping):
        raise NodeError(f"node {name} returned a {type(outputs).__name__}; return a dict of named arrays")
    rows: Rows = {}
    for output, value in outputs.items():
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if array.ndim == 0 or (count is not None and array.shape[0] != count):
            for_rows = "" if count is None else f" for {count} rows"
            raise NodeError(
                f"node {name} returned {output} of shape {list(array.shape)}{for_rows}; "
                f"the first dimension must be the rows"
            )
        declared = instance.dtypes.get(output, array.dtype)
        if array.dtype != declared:
            raise NodeError(f"node {name} returned {output} as {array.dtype}, but declares {declared}; convert it")
        rows[output] = array
    return rows


def _waves(plan: Plan, step: Step, slots: Mapping[str, Slot[Instance]]) -> list[list[_Unit]]:
    """Units that may run side by side, in order; only models are worth a thread of their own."""
    depth: dict[str, int] = {}
    waves: list[list[_Unit]] = []
    for name in step.units:
        node = plan.graph.nodes[name.removesuffix(DECIDE)]
        unit = _Unit(name, node, None if name in plan.cases else slots[node.name])
        depth[name] = 1 + max((depth.get(need, -1) for need in _needs(plan, name)), default=-1)
        waves.extend([] for _ in range(depth[name] + 1 - len(waves)))
        waves[depth[name]].append(unit)
    return [group for wave in waves for group in _side_by_side(wave)]


def _side_by_side(wave: list[_Unit]) -> list[list[_Unit]]:
    models = [unit for unit in wave if isinstance(unit.node.config, _MODELS)]
    others = [[unit] for unit in wave if not isinstance(unit.node.config, _MODELS)]
    return [*others, models] if models else others


def _needs(plan: Plan, unit: str) -> list[str]:
    node = plan.graph.nodes[unit.removesuffix(DECIDE)]
    needs = [switch + DECIDE for switch, _ in plan.scope_of[node.name]]
    if unit in plan.cases:
        needs.append(unit + DECIDE)
        return needs + [edge.node for outputs in node.cases.values() for edge in outputs.values()]
    return needs + [edge.node for edges in node.inputs.values() for edge in edges]
