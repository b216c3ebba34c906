"""Addresses and the curl line come from the serve config and the graphs it names."""

import json
import shlex
from pathlib import Path

import pytest

from cluster.target import curl, read_target
from configs.errors import ConfigError

GRAPH = """
name: greet
inputs: {{{inputs}}}
nodes: {{hello: {{call: tests.support.nodes:nothing, inputs: {{text: text}}}}}}
outputs: {{text: hello.text}}
"""
EXAMPLE = 'text: {datatype: BYTES, shape: [-1], example: "its \\"é\\" $HOME"}'


def write(folder: Path, inputs: str, options: str = "", route: str = "/") -> Path:
    (folder / "greet.yaml").write_text(GRAPH.format(inputs=inputs))
    config = folder / "serve.yaml"
    config.write_text(
        f"{options}\napplications:\n- import_path: deployments.app:build\n  route_prefix: {route}\n"
        f"  args: {{graphs: [greet.yaml], root: {folder}}}\n"
    )
    return config


def test_the_curl_line_survives_the_shell(tmp_path: Path) -> None:
    target = read_target(write(tmp_path, EXAMPLE, "http_options: {host: 127.0.0.1, port: 8123}", "/a"))
    words = shlex.split(curl(target, "/a/greet"))
    assert words[:2] == ["curl", "http://127.0.0.1:8123/a/greet"]
    assert json.loads(words[words.index("-d") + 1]) == {"text": ['its "é" $HOME']}
    assert target.prefixes == ["/a"]


def test_what_is_not_ours_has_no_prefix_and_no_example(tmp_path: Path) -> None:
    config = write(tmp_path, EXAMPLE, route="/a")
    assert not read_target(config).others
    other = "- {name: other, import_path: their.app:build, route_prefix: /b, args: {graphs: 3}}\n"
    config.write_text(config.read_text() + other)
    target = read_target(config)
    assert (target.prefixes, target.others, list(target.examples)) == (["/a"], True, ["/a/greet"])


def test_serves_defaults_are_every_interface_and_no_grpc(tmp_path: Path) -> None:
    target = read_target(write(tmp_path, EXAMPLE))
    assert (target.host, target.http, target.grpc) == ("0.0.0.0", "http://127.0.0.1:8000", None)
    assert list(target.examples) == ["/greet"]


def test_grpc_is_offered_where_the_config_has_servicers(tmp_path: Path) -> None:
    options = "grpc_options: {port: 9123, grpc_servicer_functions: [deployments.protocols.v2_proto:add_servicer]}"
    assert read_target(write(tmp_path, EXAMPLE, options)).grpc == "127.0.0.1:9123"


def test_an_ipv6_host_is_written_in_brackets(tmp_path: Path) -> None:
    assert read_target(write(tmp_path, EXAMPLE, "http_options: {host: '::1'}")).http == "http://[::1]:8000"


def test_a_graph_without_a_complete_example_has_no_curl_line(tmp_path: Path) -> None:
    assert read_target(write(tmp_path, "text: 'BYTES[-1]'")).examples == {}


def test_a_serve_config_with_mistakes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="htttp_options"):
        read_target(write(tmp_path, EXAMPLE, "htttp_options: {}"))
