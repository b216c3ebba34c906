"""The graphs as Triton's model repository extension shows them. They come with the server and go with it."""

from collections.abc import Collection, Mapping

from configs.errors import RequestError, Unsupported
from deployments.protocols.request import Parameter, shown

EXTENSION = "model_repository"
"""Name of the extension in server metadata."""


def index(graphs: Collection[str], version: str) -> list[dict[str, str]]:
    """The list of `POST /v2/repository/index`: a gateway is only reached once all its graphs are ready."""
    return [{"name": name, "version": version, "state": "READY", "reason": ""} for name in sorted(graphs)]


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


def unload(name: str) -> Unsupported:
    """Why a graph cannot be unloaded."""
    return Unsupported(f"graph {shown(name)} cannot be unloaded; take it out of the serve config and deploy again")
