"""Triton's model repository extension: graphs come and go with the server; servables, with their versions, do not."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from configs.errors import InvalidInput, RequestError, Unsupported
from deployments.operations import Action, Operation
from deployments.protocols.request import Parameter, shown

EXTENSION = "model_repository"
"""Name of the extension in server metadata."""


_READY = "READY"
_LARGEST = 2**63 - 1


class Standing(NamedTuple):
    """A version of a servable in a gateway, in Triton's words."""

    name: str
    version: str
    state: str
    """READY: it answers. LOADING, or UNAVAILABLE with the reason."""
    reason: str = ""


def index(
    graphs: Collection[str], version: str, versions: Iterable[Standing] = (), ready: bool = False
) -> list[dict[str, str]]:
    """The list of `POST /v2/repository/index`: the graphs, which are all ready, and the versions of their servables.

    Args:
        graphs: and the models of those that have many, as `<graph>.<model>`.
        ready: only what is ready.
    """
    standing = [*(Standing(name, version, _READY) for name in sorted(graphs)), *sorted(versions)]
    return [each._asdict() for each in standing if not ready or each.state == _READY]


def operation(action: Action, servable: str, parameters: Mapping[str, Parameter]) -> Operation:
    """What loading or unloading a servable does, with the parameter `version` as the version's number.

    Without one, as Triton's clients ask, unloading takes out what has the traffic, and the best version that is left
    takes over; loading undoes that: what the policy says is in again, whatever was taken out or pinned.

    Raises:
        InvalidInput: the version is not a number.
        Unsupported: the request brings a configuration or files of its own.
    """
    others = {**parameters}
    version = others.pop("version", None)
    others.pop("unload_dependents", None)  # Triton's clients always send it; a servable has none
    if others:
        raise Unsupported(
            f"{servable} cannot be changed with {', '.join(map(shown, others))} of the request; publish a version"
        )
    if version is None:
        return Operation(Action.RESTORE if action is Action.LOAD else action, servable)
    if type(version) is not int or not 0 <= version <= _LARGEST:
        raise InvalidInput(f"parameter version is {shown(version)}; it must be a whole number from 0 to 2^63-1")
    return Operation(action, servable, version)


def load(name: str, graphs: Collection[str], parameters: Mapping[str, Parameter]) -> None:
    """What loading a graph does here: nothing, it is loaded.

    Raises:
        RequestError: the server has no such graph, in the words that Triton's clients look for.
        Unsupported: the request brings a configuration or files of its own.
    """
    if name not in graphs:
        raise RequestError(
            f"failed to load {shown(name)}, this server has {', '.join(sorted(graphs))}; "
            "add the graph to the serve config and deploy it again"
        )
    if parameters:
        raise Unsupported(
            f"graph {name} cannot be loaded with {', '.join(shown(key) for key in parameters)} of the request; "
            "change its YAML file and deploy again"
        )


def on_demand(name: str) -> Unsupported:
    """Why one of a graph's many models can neither be loaded nor unloaded."""
    return Unsupported(
        f"failed to load or unload {shown(name)}: it is loaded when it is asked for, and leaves when others need room"
    )


def unload(name: str) -> Unsupported:
    """Why a graph cannot be unloaded."""
    return Unsupported(f"graph {shown(name)} cannot be unloaded; take it out of the serve config and deploy again")
