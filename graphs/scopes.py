"""Which rows a node runs for: a node that only one case of a switch needs runs for that case's rows."""

from collections.abc import Mapping

from graphs.flat import FlatGraph

Scope = tuple[tuple[str, str], ...]
"""Path of (switch, case) pairs, outermost first; `()` is every row of the request."""


def scopes(graph: FlatGraph, order: list[str]) -> dict[str, Scope]:
    """The scope of every node: the longest common prefix of the scopes of all that read it.

    Args:
        order: node names, each after those that it reads.
    """
    readers: dict[str, list[Scope]] = {name: [] for name in graph.nodes}
    for edge in graph.outputs.values():
        _note(readers, edge.node, ())
    found: dict[str, Scope] = {}
    for name in reversed(order):
        node = graph.nodes[name]
        scope = found[name] = _common(readers[name])
        for edges in node.inputs.values():
            for edge in edges:
                _note(readers, edge.node, scope)
        for case, outputs in node.cases.items():
            for edge in outputs.values():
                _note(readers, edge.node, (*scope, (name, case)))
    return found


def _note(readers: Mapping[str, list[Scope]], node: str, scope: Scope) -> None:
    if node in readers:
        readers[node].append(scope)


def _common(scopes_: list[Scope]) -> Scope:
    if not scopes_:
        return ()
    common: Scope = scopes_[0]
    for scope in scopes_[1:]:
        length = 0
        while length < min(len(common), len(scope)) and common[length] == scope[length]:
            length += 1
        common = common[:length]
    return common
