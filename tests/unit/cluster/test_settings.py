"""Every setting exists in the installed Ray, has a reason, and keeps socket paths short enough."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from cluster.ports import Ports
from cluster.settings import serve_environment, serve_settings

PORTS = Ports(20_000, 20_001, 20_002, 20_003, range(20_004, 20_100), range(20_100, 20_200))
FOLDER = Path("/tmp/mr-abcdefgh")


@pytest.mark.parametrize("haproxy", [True, False])
def test_each_setting_is_named_once_and_has_a_reason(haproxy: bool) -> None:
    settings = serve_settings(haproxy=haproxy, ports=PORTS, folder=FOLDER)
    assert len({setting.name for setting in settings}) == len(settings)
    assert all(setting.reason.endswith(".") for setting in settings)


def test_serve_reads_every_setting() -> None:
    ray = find_spec("ray")
    assert ray is not None
    assert ray.submodule_search_locations
    source = Path(ray.submodule_search_locations[0], "serve/_private/constants.py").read_text()
    names = [name for name in serve_environment(haproxy=True, ports=PORTS, folder=FOLDER) if "_SERVE_" in name]
    assert len(names) > 10
    assert [name for name in names if f'"{name}"' not in source] == []


def test_the_python_proxy_gets_no_haproxy() -> None:
    environment = serve_environment(haproxy=False, ports=PORTS, folder=FOLDER)
    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == environment["RAY_SERVE_ENABLE_DIRECT_INGRESS"] == "0"
    assert not [name for name in environment if name.startswith("RAY_SERVE_HAPROXY")]


def test_socket_paths_fit_into_a_unix_address() -> None:
    environment = serve_environment(haproxy=True, ports=PORTS, folder=FOLDER)
    for name in ("RAY_SERVE_HAPROXY_SOCKET_PATH", "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH"):
        path = Path(environment[name])
        node, while_binding = "f" * 56, ".1234567.tmp"  # what Serve and HAProxy add (unix(7): 107 bytes)
        assert len(f"{path.parent}/{node}/{path.name}{while_binding}") <= 107
