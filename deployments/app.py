"""The Serve application: what `import_path: deployments.app:build` in a serve config makes of its args."""

from collections.abc import Iterable
from pathlib import Path

import ray
from ray import serve

from configs.documents import Texts
from configs.errors import ConfigError
from configs.graph import SubgraphNode
from configs.loader import load_graph
from configs.serve import AppArgs, find_root, placement_profile
from deployments.catalogue import catalogue
from deployments.control import Control
from deployments.gateway import Gateway
from deployments.routers import import_routers
from deployments.service import GraphSpec
from deployments.settings import CONTROL_OPTIONS, gateway_options
from graphs.check import CheckedGraph, check_file


def build(args: AppArgs) -> serve.Application:
    """Check the graphs and bind gateway and control.

    Raises:
        ConfigError: every problem of every graph, or of the routers; Serve shows it as why the deployment failed.
    """
    root = find_root(args.root, args.graphs)
    profile = placement_profile(args.profile, _has_gpu)
    texts = {root / path: text for path, text in (args.graph_texts or {}).items()}
    checked = check_all([root / path for path in args.graphs], root, profile, texts)
    import_routers(args.routers, [graph.flat.name for graph in checked])
    graphs = [graph.flat for graph in checked]
    specs = [GraphSpec(graph, root, args.gateway.cpus, args.gateway.threads) for graph in graphs]
    servables = catalogue(graphs, root, args)
    state = (servables, args.state_url, root, graph_texts(args.graphs, root, texts), args.log_level)
    control = serve.deployment(Control, name="control").options(**CONTROL_OPTIONS).bind(*state)
    options = gateway_options(args.gateway.replicas, args.gateway.cpus, args.gateway.max_ongoing_requests)
    gateway = serve.deployment(serve.ingress()(Gateway), name="gateway").options(**options)
    return gateway.bind(specs, servables, control, args)


def check_all(paths: list[Path], root: Path, profile: str, texts: Texts) -> list[CheckedGraph]:
    """Check several graphs. Raises ConfigError with the problems of all of them."""
    checked, errors = [], []
    for path in paths:
        try:
            checked.append(check_file(path, root, profile, texts))
        except ConfigError as error:
            errors.append(error.message)
    names = [graph.flat.name for graph in checked]
    errors += [f"graph {name} is defined twice; give each its own name" for name in {*names} if names.count(name) > 1]
    if errors:
        raise ConfigError("\n".join(errors))
    return checked


def graph_texts(paths: Iterable[str], root: Path, texts: Texts) -> dict[str, str]:
    """Path → content of these graphs' files and of those of their sub-graphs."""
    found: dict[str, str] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = texts[root / path] if root / path in texts else (root / path).read_text()
            nodes = load_graph(root / path, texts).nodes.values()
            waiting += [node.graph for node in nodes if isinstance(node, SubgraphNode)]
    return found


def _has_gpu() -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))
