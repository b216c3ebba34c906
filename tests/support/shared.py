"""The servers that tests share, one at a time: a start takes longer than most tests of a server together."""

from collections.abc import Callable
from pathlib import Path

import yaml

from tests.support import identities, lookups, numbers, tenants
from tests.support.server import GRAPHS, ROOT, Server

SLOW = {
    "name": "slow",
    "inputs": {"x": "FP32[-1, 2]"},
    "nodes": {
        "add": {"call": "tests.support.nodes:Add", "with": {"sleep_s": 0.05}, "inputs": {"x": "x"}},
    },
    "outputs": {"y": "add.y"},
}
"""Requests take long enough that some are always in flight in each replica."""
FOREIGN = {"name": "foreign", "import_path": "tests.support.foreign:app", "route_prefix": "/other"}
NUMBERS, TENANTS, USERS = "numbers", "tenants", "users"
"""Folders of these graphs and their models, in that of the server."""
_NO_PROXY_TAKES_PART = ("halves", "running-sum")
"""Graphs with placed nodes that tests use behind one proxy alone."""


def behind_haproxy(folder: Path) -> Server:
    """Every graph of the tests, the conformance suite's too."""
    server = Server("haproxy", folder)
    suite = sorted((ROOT / GRAPHS / "conformance").glob("*.yaml"))
    suite += identities.write(folder / "identities")
    suite += [numbers.write(folder / NUMBERS), tenants.write(folder / TENANTS), lookups.write(folder / USERS)]
    server.args["graphs"] += map(str, suite)
    return server


def behind_python(folder: Path) -> Server:
    """What Ray's proxy can make a difference to."""
    server = Server("python", folder)
    server.args["graphs"] = [path for path in server.args["graphs"] if Path(path).stem not in _NO_PROXY_TAKES_PART]
    return server


def beside_another(folder: Path) -> Server:
    """Two gateways below `/ours`, which trace nothing, and an application that is not Millrace's below `/other`."""
    server = Server("haproxy", folder)
    (folder / "slow.yaml").write_text(yaml.safe_dump(SLOW))
    gateway = {"cpus": 0.5, "replicas": 2}
    server.args.update({"graphs": [str(folder / "slow.yaml")], "routers": [], "gateway": gateway, "tracing": None})
    server.config["applications"][0]["route_prefix"] = "/ours"
    server.config["applications"].append(FOREIGN)
    return server


KINDS: dict[str, Callable[[Path], Server]] = {
    "haproxy": behind_haproxy,
    "python": behind_python,
    "beside": beside_another,
}
"""What the mark `proxy` names."""
