"""The values of one run: arrays by edge, seen from any scope of rows."""

from collections.abc import Collection, Mapping

import numpy as np

from configs.errors import NodeError
from configs.tensors import Rows
from graphs.flat import CASE, Edge
from graphs.scopes import Scope


class Frame:
    """Holds what has been computed for a set of rows, and takes or merges the rows of a switch's cases.

    Args:
        rows: number of rows in the base scope.
        base: the scope that the given rows belong to; edges without a known scope are at the base.
        cases: switch name → its cases in order (the decision holds their indices).
        scope_of: node name → the scope it runs in.
    """

    def __init__(
        self, rows: int, base: Scope, cases: Mapping[str, tuple[str, ...]], scope_of: Mapping[str, Scope]
    ) -> None:
        self._base = base
        self._cases = cases
        self._scope_of = scope_of
        self._values: dict[tuple[Edge, Scope], np.ndarray] = {}
        self._picked: dict[Scope, np.ndarray] = {}
        self._counts: dict[Scope, int] = {base: rows}

    def put(self, edge: Edge, value: np.ndarray) -> None:
        """Store a node's output, which has as many rows as the node's scope."""
        self._values[edge, self._home(edge)] = value

    def get(self, edge: Edge, scope: Scope) -> np.ndarray:
        """The rows of `scope` of an edge that was computed in that scope or one around it."""
        value = self._values.get((edge, scope))
        if value is None:
            if scope == self._home(edge):
                raise NodeError(f"node {edge.node} did not return {edge.output}, which the graph reads")
            value = self.get(edge, scope[:-1])[self._rows_of(scope)]
            self._values[edge, scope] = value
        return value

    def take(self, rows: np.ndarray) -> "Frame":
        """What is known of some of the rows.

        Args:
            rows: INT, indices of rows of the base scope, rising.
        """
        taken = Frame(len(rows), self._base, self._cases, self._scope_of)
        together = len(rows) > 0 and rows[-1] - rows[0] + 1 == len(rows)
        chosen = slice(int(rows[0]), int(rows[-1]) + 1) if together else rows  # a slice copies nothing
        for (edge, scope), value in self._values.items():
            inside = np.isin(self.rows(scope), rows) if len(scope) > len(self._base) else chosen
            taken._values[edge, scope] = value[inside]
        return taken

    def keep(self, edges: Collection[Edge]) -> None:
        """Forget all other edges, but what switches decided."""
        self._values = {
            (edge, scope): value
            for (edge, scope), value in self._values.items()
            if edge.output == CASE or (edge in edges and scope == self._home(edge))
        }

    def count(self, scope: Scope) -> int:
        """How many rows run in a scope."""
        if scope not in self._counts:
            # Where no row reaches the outer case, the inner switch has not decided at all.
            self._counts[scope] = len(self._rows_of(scope)) if self.count(scope[:-1]) else 0
        return self._counts[scope]

    def rows(self, scope: Scope) -> np.ndarray:
        """Which rows of the base scope run in a scope."""
        if len(scope) <= len(self._base):
            return np.arange(self._counts[self._base])
        rows: np.ndarray = self.rows(scope[:-1])[self._rows_of(scope)]
        return rows

    def merge(self, switch: str, outputs: Mapping[str, Mapping[str, Edge]]) -> Rows:
        """Bring the rows of a switch's cases together, in the order they came.

        Args:
            outputs: case → output name → edge.

        Raises:
            NodeError: cases give different datatypes or shapes.
        """
        scope = self._scope_of[switch]
        merged: Rows = {}
        for case, edges in outputs.items():
            inner = (*scope, (switch, case))
            if not self.count(inner):
                continue
            for name, edge in edges.items():
                part = _as_bytes(self.get(edge, inner))
                if name not in merged:
                    merged[name] = np.empty((self.count(scope), *part.shape[1:]), part.dtype)
                _fits(switch, case, name, merged[name], part)
                merged[name][self._rows_of(inner)] = part
        return merged

    def _home(self, edge: Edge) -> Scope:
        scope = self._scope_of.get(edge.node, ())
        return scope if len(scope) > len(self._base) else self._base

    def _rows_of(self, scope: Scope) -> np.ndarray:
        picked = self._picked.get(scope)
        if picked is None:
            switch, case = scope[-1]
            codes = self.get(Edge(switch, CASE), scope[:-1])
            picked = self._picked[scope] = np.flatnonzero(codes == self._cases[switch].index(case))
        return picked


def _as_bytes(values: np.ndarray) -> np.ndarray:
    """Text of every kind as bytes in an object array, so that rows of several nodes go together."""
    if values.dtype.kind == "U":
        values = np.char.encode(values, "utf-8")
    return values.astype(object) if values.dtype.kind == "S" else values


def _fits(switch: str, case: str, name: str, merged: np.ndarray, part: np.ndarray) -> None:
    if merged.dtype != part.dtype or merged.shape[1:] != part.shape[1:]:
        raise NodeError(
            f"node {switch}: case {case} gives {name} as {part.dtype}{list(part.shape[1:])} a row, another case "
            f"as {merged.dtype}{list(merged.shape[1:])}; make them alike"
        )
