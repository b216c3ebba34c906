"""The servers that are compared: how each is started, asked, and what it tells of its models."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import yaml

from benchmarks.online.ask import HOST
from benchmarks.online.launch import Kind, Running, fast, running, serve_run
from benchmarks.online.workloads import Workload
from benchmarks.pool.live.models import FAMILIES, ROW, WIDTH, Family, Model
from benchmarks.pool.live.multiplexed import COUNTS

_CPUS = 16
"""What Ray books, whatever the machine has."""


class Told(NamedTuple):
    """What a server says of the models of a family."""

    loads: int
    """Since it was started."""
    bytes: int
    """Of the models that are loaded."""


@dataclass(frozen=True)
class Server:
    """One of the servers that are compared."""

    title: str
    header: str
    """Names the model of a request."""
    applications: Callable[[Path, Mapping[str, int]], list[dict[str, Any]]]
    """Folder with the families' models, most bytes of each family → Serve's applications."""
    told: Callable[[Running, str], Told]
    """Of a family, now. Raises OSError, or LookupError while it does not know."""

    @contextmanager
    def started(self, folder: Path, limits: Mapping[str, int], models: Mapping[str, Model]) -> Iterator[Running]:
        """Run it for the length of a `with` block.

        Args:
            models: one of each family, which must answer.

        Raises:
            RuntimeError, ValueError: as `running`.
        """
        kind = Kind(self.title, serve_run(self.applications(folder, limits)), _environment)
        asked = [
            Workload(family, ROW, {"y": model.answer}, family, binary=False, headers=((self.header, model.name),))
            for family, model in models.items()
        ]
        with running(kind, asked) as server:
            yield server


def _environment(folder: Path) -> dict[str, str]:
    booked = {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": _CPUS})}
    return {**fast(folder), **booked, "RAY_metrics_report_interval_ms": "1000"}


def _millrace(folder: Path, limits: Mapping[str, int]) -> list[dict[str, Any]]:
    paths = {name: folder / f"{name}.yaml" for name in limits}
    for name, limit in limits.items():
        paths[name].write_text(yaml.safe_dump(_graph(FAMILIES[name], folder / name, limit)))
    state = folder / "state.sqlite"
    state.unlink(missing_ok=True)
    args = {"graphs": [str(path) for path in paths.values()], "root": str(folder), "state_url": f"sqlite:///{state}"}
    return [{"name": "millrace", "import_path": "deployments.app:build", "route_prefix": "/", "args": args}]


def _graph(family: Family, models: Path, limit: int) -> dict[str, Any]:
    node = {"models": str(models), "inputs": {"model": "model", "x": "x"}, "max_bytes": limit, "trust": "pickle"}
    inputs = {"model": "BYTES[-1]", "x": f"FP32[-1, {WIDTH}]"}
    return {"name": family.name, "inputs": inputs, "nodes": {"one": node}, "outputs": {"y": f"one.{family.output}"}}


def _millrace_told(server: Running, family: str) -> Told:
    targets = json.loads((server.log.parent / "ray" / "prom_metrics_service_discovery.json").read_text())
    text = "".join(urlopen(f"http://{each}/metrics", timeout=20).read().decode() for each in targets[0]["targets"])
    return told_by(text, family)


def told_by(metrics: str, family: str) -> Told:
    """What Prometheus would read. Raises LookupError while nothing has been loaded."""
    loads = _value(metrics, "ray_millrace_pool_events_total", 'event="loads"', f'graph="{family}"')
    return Told(loads, _value(metrics, "ray_millrace_pool_bytes", 'memory="host"', f'graph="{family}"'))


def _value(metrics: str, name: str, *labels: str) -> int:
    for line in re.findall(rf"^{name}{{.*$", metrics, re.MULTILINE):
        if all(label in line for label in labels):
            return int(float(line.rpartition(" ")[2]))
    raise LookupError(f"no {name} of {labels}")


def _multiplexed(threads: bool) -> Callable[[Path, Mapping[str, int]], list[dict[str, Any]]]:
    def applications(folder: Path, limits: Mapping[str, int]) -> list[dict[str, Any]]:
        path = "benchmarks.pool.live.multiplexed:build"
        return [
            {
                "name": name,
                "import_path": path,
                "route_prefix": f"/{name}",
                "args": {"family": name, "folder": str(folder / name), "threads": threads},
            }
            for name in limits
        ]

    return applications


def _multiplexed_told(server: Running, family: str) -> Told:
    with urlopen(f"http://{HOST}:{server.ports.http}/{family}/{COUNTS}", timeout=20) as answer:
        return Told(**json.load(answer))


_ID = "serve_multiplexed_model_id"

SERVERS = {
    "millrace": Server("Millrace", "x-model", _millrace, _millrace_told),
    "multiplexed": Server("@serve.multiplexed, as documented", _ID, _multiplexed(False), _multiplexed_told),
    "threads": Server("@serve.multiplexed, loads in threads", _ID, _multiplexed(True), _multiplexed_told),
}
"""The servers by name, in the order in which the first round runs them."""
