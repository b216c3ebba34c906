"""Describe a graph in Python: gives the same `GraphConfig` as the YAML file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from configs.errors import ConfigError
from configs.graph import GraphConfig
from configs.tensors import TensorSpec

Code = str | Callable[..., Any]
"""An import path `package.module:name`, or the function or class itself."""


class NodeRef:
    """A node just added; its attributes are references to its outputs: `cnn.probs`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, output: str) -> str:
        if output.startswith("_"):
            raise AttributeError(output)
        return f"{self._name}.{output}"

    def __getitem__(self, output: str) -> str:
        return f"{self._name}.{output}"


class GraphBuilder:
    """Collects inputs, nodes and outputs; `config()` checks the whole.

    Every method that adds a node takes its inputs as keyword arguments (references), and where it runs
    as `options`: cpus, gpus, replicas, isolate, batch, outputs.
    """

    def __init__(self, name: str, description: str = "") -> None:
        self._fields: dict[str, Any] = {"name": name, "inputs": {}, "nodes": {}, "outputs": {}}
        if description:
            self._fields["description"] = description

    def input(self, name: str, spec: str | TensorSpec | Mapping[str, Any]) -> str:
        """Add a graph input, e.g. `"UINT8[-1, 8, 8]"`. Returns the reference to it."""
        self._fields["inputs"][name] = spec
        return name

    def call(
        self, name: str, code: Code, options: Mapping[str, Any] | None = None, *, with_: Any = None, **inputs: str
    ) -> NodeRef:
        """Add a function, class or coroutine; `with_` holds the class's arguments."""
        arguments = {"with": with_} if with_ else {}
        return self._add(name, {"call": import_path(code), "inputs": inputs, **arguments}, options)

    def model(self, name: str, model: str, options: Mapping[str, Any] | None = None, **inputs: str) -> NodeRef:
        """Add a model by its folder, `models/<name>`."""
        return self._add(name, {"model": model, "inputs": inputs}, options)

    def lookup(
        self,
        name: str,
        lookup: str,
        options: Mapping[str, Any] | None = None,
        *,
        key: str,
        otherwise: Mapping[str, str] | None = None,
    ) -> NodeRef:
        """Look rows up in a table by their `key`; `otherwise` is output → reference for those that it has not."""
        live = {"otherwise": dict(otherwise)} if otherwise else {}
        return self._add(name, {"lookup": lookup, "inputs": {"key": key}, **live}, options)

    def retrieve(
        self, name: str, retrieve: str, options: Mapping[str, Any] | None = None, *, vector: str, k: int = 10
    ) -> NodeRef:
        """Find the `k` items of a vector index that are nearest to each row's `vector`."""
        return self._add(name, {"retrieve": retrieve, "inputs": {"vector": vector}, "k": k}, options)

    def ensemble(
        self, name: str, kind: Code, members: Sequence[str], options: Mapping[str, Any] | None = None, **fields: Any
    ) -> NodeRef:
        """Combine members; `fields` are `weights` or `model`."""
        code = kind if isinstance(kind, str) else import_path(kind)
        return self._add(name, {"ensemble": code, "inputs": {"members": list(members)}, **fields}, options)

    def switch(
        self,
        name: str,
        code: Code,
        cases: Mapping[str, Mapping[str, str]],
        options: Mapping[str, Any] | None = None,
        *,
        with_: Any = None,
        **inputs: str,
    ) -> NodeRef:
        """Send rows to cases: case → {output: reference}."""
        arguments = {"with": with_} if with_ else {}
        kind = code if isinstance(code, str) else import_path(code)
        return self._add(name, {"switch": kind, "inputs": inputs, "cases": dict(cases), **arguments}, options)

    def graph(self, name: str, path: str, **inputs: str) -> NodeRef:
        """Use another graph's YAML file as one node."""
        return self._add(name, {"graph": path, "inputs": inputs}, None)

    def output(self, **references: str) -> None:
        """Name the graph's outputs."""
        self._fields["outputs"].update(references)

    def profile(self, name: str, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """Other placement of some nodes under a profile."""
        self._fields.setdefault("profiles", {})[name] = nodes

    def config(self) -> GraphConfig:
        """The graph. Raises pydantic.ValidationError; `graphs.check.check_graph` checks the rest."""
        return GraphConfig.model_validate(self._fields)

    def _add(self, name: str, fields: dict[str, Any], options: Mapping[str, Any] | None) -> NodeRef:
        if name in self._fields["nodes"]:
            raise ConfigError(f"graph {self._fields['name']}: two nodes are called {name}; rename one")
        self._fields["nodes"][name] = {**fields, **(options or {})}
        return NodeRef(name)


def import_path(code: Code) -> str:
    """`package.module:name` of a function or class that other processes can import.

    Raises:
        ConfigError: it is a lambda, a local function, or lives in `__main__`.
    """
    if isinstance(code, str):
        return code
    module, name = getattr(code, "__module__", None), getattr(code, "__qualname__", "")
    if not module or module == "__main__" or "<" in name or not name:
        raise ConfigError(f"{code!r} cannot be imported by other processes; define it at the top of a module")
    return f"{module}:{name}"
