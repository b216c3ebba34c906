"""Every metric in monitoring's table reaches Prometheus, with its labels."""

import re

import pytest

from monitoring import names
from tests.support.server import Server

pytestmark = pytest.mark.proxy("haproxy")
"""No proxy takes part in what the gateway counts."""
EXPORTED_WITHIN_S = 60
"""Gateways and Ray's agents hand over each second, the latter after their start."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def series(text: str, name: str) -> list[dict[str, str]]:
    """Labels of each series of a metric."""
    suffixes = r"(?:_total|_count)?"
    lines = re.findall(rf"^ray_{name}{suffixes}\{{(.*)\}} \S+$", text, re.MULTILINE)
    return [dict(_LABEL.findall(line)) for line in lines]


def test_every_metric_is_exported_with_its_labels(server: Server) -> None:
    assert server.request("/digits", {"image": [[[0] * 8] * 8]}).status == 200
    assert server.request("/digits", {}).status == 400
    assert server.request("/guarded", {"x": [[1, 2], [1, 2]]}).status == 200
    assert server.request("/tenants", {"tenant": ["m1", "m2"], "x": [[1, 2], [1, 2]]}).status == 200

    def exported() -> str | None:
        text = server.metrics()
        return text if all(series(text, metric.name) for metric in names.ALL) else None

    text = server.wait(exported, EXPORTED_WITHIN_S, "all metrics are exported")
    for metric in names.ALL:
        for labels in series(text, metric.name):
            assert set(metric.labels) <= set(labels), metric.name
            assert labels["application"].partition(".")[0] == "millrace"  # a stage has one of its own


def test_labels_say_what_happened(server: Server) -> None:
    for _ in range(3):
        assert server.request("/digits", {"image": [[[0] * 8] * 8]}).status == 200
    assert server.request("/failing", {"x": [[1, 2]]}).status == 500

    def exported() -> str | None:
        text = server.metrics()
        wanted = {"graph": "failing", "protocol": "json", "error": "NodeError"}
        return text if any(wanted.items() <= labels.items() for labels in series(text, names.ERRORS.name)) else None

    text = server.wait(exported, EXPORTED_WITHIN_S, "the error is exported")
    requests = [(item["graph"], item["protocol"], item["code"]) for item in series(text, names.REQUESTS.name)]
    assert {("digits", "json", "OK"), ("failing", "json", "500")} <= set(requests)
    nodes = {(item["node"], item["version"]) for item in series(text, names.NODE_COMPUTE.name)}
    assert {("cnn", "1"), ("forest", "1"), ("scale", "")} <= nodes
