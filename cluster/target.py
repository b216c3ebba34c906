"""What a serve config offers to clients, read from the files alone: addresses, and a request that works."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from configs.loader import load_document, load_graph
from configs.problems import config_error
from configs.ray_serve import Application, ServeConfig
from configs.serve import AppArgs, find_root, is_ours, lint_serve_config
from configs.tensors import TensorSpec

_ANY = ("0.0.0.0", "::", "")


class Target(NamedTuple):
    """Where requests go once a serve config runs."""

    host: str
    """Interface that the config names; `0.0.0.0` is all of them."""
    http_port: int
    grpc_port: int | None
    """None if the config starts no gRPC server."""
    prefixes: list[str]
    """Route prefixes of Millrace's applications, without a slash at the end."""
    others: bool
    """Whether there are applications that are not Millrace's: only Serve knows when those are ready."""
    examples: dict[str, dict[str, list[Any]]]
    """Path of each graph → inputs of one row, for graphs whose inputs all have an example."""
    without_example: list[str]
    """Paths of the other graphs."""

    @property
    def http(self) -> str:
        """Base URL for a client on this machine."""
        return f"http://{self._client_host}:{self.http_port}"

    @property
    def grpc(self) -> str | None:
        """Address for a gRPC client on this machine."""
        return f"{self._client_host}:{self.grpc_port}" if self.grpc_port else None

    @property
    def _client_host(self) -> str:
        host = "127.0.0.1" if self.host in _ANY else self.host
        return f"[{host}]" if ":" in host else host


def read_target(config: Path) -> Target:
    """Read a serve config and its graphs' inputs. Raises ConfigError with every problem of the serve config."""
    if problems := lint_serve_config(config):
        raise config_error(problems)
    serve = ServeConfig.model_validate(load_document(config).data)
    ours = [application for application in serve.applications if is_ours(application.model_dump())]
    served = [application for application in ours if application.route_prefix is not None]
    inputs = {path: specs for application in served for path, specs in _inputs(application).items()}
    return Target(
        serve.http_options.host,
        serve.http_options.port,
        serve.grpc_options.port if serve.grpc_options.grpc_servicer_functions else None,
        [(application.route_prefix or "").rstrip("/") for application in served],
        len(ours) < len(serve.applications),
        {path: _one_row(specs) for path, specs in inputs.items() if _complete(specs)},
        [path for path, specs in inputs.items() if not _complete(specs)],
    )


def curl(target: Target, path: str) -> str:
    """A shell line that sends the example of the graph at `path`."""
    body = json.dumps(target.examples[path], separators=(",", ":"), ensure_ascii=False).replace("'", r"'\''")
    return f"curl {target.http}{path} -H 'content-type: application/json' -d '{body}'"


def _inputs(application: Application) -> dict[str, dict[str, TensorSpec]]:
    """Path → inputs of each graph of an application."""
    args = AppArgs.model_validate(application.args)
    root = find_root(args.root, args.graphs)
    prefix = (application.route_prefix or "").rstrip("/")
    graphs = [load_graph(root / graph) for graph in args.graphs]
    return {f"{prefix}/{graph.name}": graph.inputs for graph in graphs}


def _complete(inputs: dict[str, TensorSpec]) -> bool:
    return all(spec.example is not None for spec in inputs.values())


def _one_row(inputs: dict[str, TensorSpec]) -> dict[str, list[Any]]:
    return {name: [spec.example] for name, spec in inputs.items()}
