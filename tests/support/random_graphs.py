"""Random graphs of integer nodes, and what they must answer, computed one row at a time without any plan."""

import random
from typing import Any

import numpy as np

Rows = dict[str, np.ndarray]


def mix(salt: int, **values: np.ndarray) -> Rows:
    """A node: hashes its inputs row by row."""
    total = np.int64(salt)
    for name in sorted(values):
        total = (total * 31 + values[name]) % 10_007
    return {"o": total}


async def mix_async(salt: int, **values: np.ndarray) -> Rows:
    """The same as a coroutine."""
    return mix(salt, **values)


def choose(salt: int, cases: int, **values: np.ndarray) -> list[str]:
    """A switch's decision: a case for each row."""
    return [f"c{code % cases}" for code in mix(salt, **values)["o"]]


def random_graph(chance: random.Random) -> dict[str, Any]:
    """A graph with nested switches, coroutines and placed nodes, of which every node is read."""
    edges, nodes = ["x", "z"], {}
    for index in range(chance.randint(2, 12)):
        nodes[f"n{index}"] = (
            _switch(chance, index, edges) if index and chance.random() < 0.4 else _call(chance, index, edges)
        )
        edges.append(f"n{index}.o")
    outputs = {f"y{index}": chance.choice(edges[2:][-4:]) for index in range(chance.randint(1, 3))}
    read = _read(nodes, list(outputs.values()))
    return {
        "name": "g",
        "inputs": {name: "INT64[-1]" for name in ("x", "z") if name in read},
        "nodes": {name: node for name, node in nodes.items() if name in read},
        "outputs": outputs,
    }


def expected(graph: dict[str, Any], rows: Rows) -> Rows:
    """The answer, row by row."""
    count = len(next(iter(rows.values())))
    answers = {name: [_value(graph, ref, {k: v[i] for k, v in rows.items()}, {}) for i in range(count)]
               for name, ref in graph["outputs"].items()}  # fmt: skip
    return {name: np.array(values) for name, values in answers.items()}


def _switch(chance: random.Random, index: int, edges: list[str]) -> dict[str, Any]:
    cases = chance.randint(1, 3)
    return {
        "switch": f"{__name__}:choose",
        "with": {"salt": index, "cases": cases},
        "inputs": {name: chance.choice(edges) for name in "ab"[: chance.randint(1, 2)]},
        "cases": {f"c{case}": {"o": chance.choice(edges)} for case in range(cases)},
    }


def _call(chance: random.Random, index: int, edges: list[str]) -> dict[str, Any]:
    coroutine = chance.random() < 0.2
    return {
        "call": f"{__name__}:{'mix_async' if coroutine else 'mix'}",
        "with": {"salt": index + 100},
        "inputs": {name: chance.choice(edges) for name in "abc"[: chance.randint(1, 3)]},
        "outputs": {"o": "INT64[-1]"},
        **({"isolate": True} if not coroutine and chance.random() < 0.25 else {}),
    }


def _read(nodes: dict[str, Any], waiting: list[str]) -> set[str]:
    read: set[str] = set()
    while waiting:
        name = waiting.pop().partition(".")[0]
        if name in read:
            continue
        read.add(name)
        for outputs in [nodes.get(name, {}).get("inputs", {}), *nodes.get(name, {}).get("cases", {}).values()]:
            waiting.extend(outputs.values())
    return read


def _value(graph: dict[str, Any], ref: str, row: dict[str, Any], known: dict[str, Any]) -> Any:
    name, dot, _ = ref.partition(".")
    if not dot:
        return row[name]
    if name not in known:
        node = graph["nodes"][name]
        values = {key: np.array([_value(graph, source, row, known)]) for key, source in node["inputs"].items()}
        if "switch" in node:
            case = choose(**node["with"], **values)[0]
            known[name] = _value(graph, node["cases"][case]["o"], row, known)
        else:
            known[name] = mix(**node["with"], **values)["o"][0]
    return known[name]
