"""The Serve application: what `import_path: deployments.app:build` in a serve config makes of its args."""

from pathlib import Path

import ray
from ray import serve

from configs.errors import ConfigError
from configs.serve import AppArgs, find_root
from deployments.control import Control, stage_names
from deployments.gateway import Gateway
from deployments.routers import import_routers
from deployments.service import GraphSpec
from deployments.settings import CONTROL_OPTIONS, gateway_options
from deployments.stage import StageSpec
from graphs.check import CheckedGraph, check_file
from graphs.plan import is_placed


def build(args: AppArgs) -> serve.Application:
    """Check the graphs and bind gateway and control.

    Raises:
        ConfigError: every problem of every graph, or of the routers; Serve shows it as why the deployment failed.
    """
    root = find_root(args.root, args.graphs)
    profile = args.profile if args.profile != "auto" else ("gpu" if _has_gpu() else "cpu")
    checked = check_all([root / path for path in args.graphs], root, profile)
    import_routers(args.routers, [graph.flat.name for graph in checked])
    stages = [stage for graph in checked for stage in stage_specs(graph, args)]
    specs = [GraphSpec(graph.flat, root, args.gateway.cpus, args.gateway.threads) for graph in checked]
    control = serve.deployment(Control, name="control").options(**CONTROL_OPTIONS).bind(stages, args.log_level)
    options = gateway_options(args.gateway.replicas, args.gateway.cpus, args.gateway.max_ongoing_requests)
    gateway = serve.deployment(serve.ingress()(Gateway), name="gateway").options(**options)
    return gateway.bind(specs, stage_names(stages), control, args)


def check_all(paths: list[Path], root: Path, profile: str) -> list[CheckedGraph]:
    """Check several graphs. Raises ConfigError with the problems of all of them."""
    checked, errors = [], []
    for path in paths:
        try:
            checked.append(check_file(path, root, profile))
        except ConfigError as error:
            errors.append(error.message)
    names = [graph.flat.name for graph in checked]
    errors += [f"graph {name} is defined twice; give each its own name" for name in {*names} if names.count(name) > 1]
    if errors:
        raise ConfigError("\n".join(errors))
    return checked


def stage_specs(graph: CheckedGraph, args: AppArgs) -> list[StageSpec]:
    """The stages that a graph's placed nodes need."""
    return [
        StageSpec(
            graph.flat.name,
            node,
            _version(graph, name),
            graph.root,
            node.batch,
            args.revision,
            args.tracing,
        )
        for name, node in graph.flat.nodes.items()
        if is_placed(node, args.gateway.cpus)
    ]


def _version(graph: CheckedGraph, node: str) -> str:
    version = getattr(graph.flat.nodes[node].config, "version", None)  # fixed by the check; code has none
    return "" if version is None else str(version)


def _has_gpu() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))
