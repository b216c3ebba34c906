"""The command line: checks files, explains graphs, fails with one clear message."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from cli.main import app
from configs.errors import ConfigError
from tests.support.graphs import NODES

GRAPH = f"""
name: g
inputs: {{x: 'FP32[-1, 2]'}}
nodes:
  a: {{call: '{NODES}Add', inputs: {{x: x}}}}
  b: {{call: '{NODES}Add', inputs: {{x: a.y}}, gpus: 0.25, replicas: {{min: 1, max: 4}}}}
  c: {{call: '{NODES}Add', inputs: {{x: b.y}}}}
outputs: {{y: c.y}}
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "g.yaml"
    path.write_text(GRAPH)
    return path


def millrace(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_tells_its_version() -> None:
    assert millrace("--version") == (0, version("millrace") + "\n")


def test_schema_is_a_json_schema() -> None:
    _, output = millrace("schema")
    Draft202012Validator.check_schema(json.loads(output))


def test_check_passes_a_good_graph(graph: Path) -> None:
    assert millrace("check", graph)[0] == 0


def test_check_names_file_line_field_value_and_remedy(graph: Path) -> None:
    graph.write_text(GRAPH.replace("max: 4", "maxx: 4"))
    code, output = millrace("check", graph)
    assert code == 1
    assert "g.yaml:6: nodes.b.replicas.maxx" in output
    assert "did you mean `max`" in output


def test_check_opens_the_graphs_of_a_serve_config(graph: Path, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(
        "applications:\n  - name: m\n    import_path: deployments.app:build\n    route_prefix: /\n"
        f"    args: {{graphs: [g.yaml], root: '{tmp_path}'}}\n"
    )
    assert millrace("check", config)[0] == 0
    graph.write_text(GRAPH.replace("a.y", "nope.y"))
    code, output = millrace("check", config)
    assert code == 1
    assert "there is no node `nope`" in output


@pytest.mark.parametrize(
    ("router", "words"),
    [
        ("no.such:router", "cannot be imported: ModuleNotFoundError"),
        ("examples.digits.routes:Drawing", "is a ModelMetaclass, not a fastapi.APIRouter"),
        ("examples.digits.routes:router", "asks for the graph 'digits'; the application serves g"),
    ],
)
@pytest.mark.usefixtures("graph")
def test_check_imports_the_routers_of_a_serve_config(router: str, words: str, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(
        "applications:\n  - name: m\n    import_path: deployments.app:build\n    args:\n"
        f"      graphs: [g.yaml]\n      root: '{tmp_path}'\n      routers:\n        - {router}\n"
    )
    code, output = millrace("check", config)
    assert code == 1
    assert f"serve.yaml:8: applications[0].args.routers[0]: router {router} {words}" in output


@pytest.mark.parametrize("import_path", ["deployments.app:build", "deployments.app.build"])
def test_check_looks_for_graphs_where_the_replicas_will(import_path: str, graph: Path, tmp_path: Path) -> None:
    config = tmp_path / "serve.yaml"
    config.write_text(
        f"applications:\n  - name: m\n    import_path: {import_path}\n    route_prefix: /\n"
        f"    runtime_env: {{working_dir: 'local://{tmp_path.parent}'}}\n"
        f"    args: {{graphs: [g.yaml], root: {tmp_path.name}}}\n"
    )
    assert millrace("check", config)[0] == 0
    graph.write_text(GRAPH.replace("a.y", "nope.y"))
    code, output = millrace("check", config)
    assert code == 1
    assert "there is no node `nope`" in output
    config.write_text(config.read_text().replace(f"local://{tmp_path.parent}", "s3://bucket/code.zip"))
    assert millrace("check", config)[0] == 0


def test_explain_shows_stages_hops_and_what_a_gpu_fraction_means(graph: Path, tmp_path: Path) -> None:
    picture = tmp_path / "g.svg"
    code, output = millrace("explain", graph, "--svg", picture)
    assert code == 0
    for text in ("stage b", "0.25", "1…4", "hops in a row: 1", "caps its framework to 25% of the GPU's memory"):
        assert text in output
    assert picture.read_text().startswith("<svg")
    assert "stage · 0.25 GPU · 1…4 replicas" in picture.read_text()


def test_explain_fails_like_check(graph: Path) -> None:
    graph.write_text(GRAPH.replace("a.y", "nope.y"))
    with pytest.raises(ConfigError, match="nope"):
        millrace("explain", graph)


def test_an_expected_error_is_a_message_not_a_stack_trace() -> None:
    command = [sys.executable, "-c", "from cli.main import main; main()", "explain", "nowhere.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_loads_models_to_know_their_names_and_types(tmp_path: Path) -> None:
    folder = tmp_path / "models/m/1"
    folder.mkdir(parents=True)
    (folder / "signature.json").write_text(f'{{"module": "{NODES}Add", "kwargs": {{}}}}')
    graph = tmp_path / "g.yaml"
    graph.write_text(
        "name: g\ninputs: {x: 'FP32[-1, 2]'}\nnodes:\n"
        "  m: {model: models/m, inputs: {x: x}}\n  n: {model: models/m, inputs: {z: x}}\n"
        "outputs: {y: m.wrong, z: n.y}\n"
    )
    code, output = millrace("check", graph, "--root", tmp_path)
    assert code == 1
    assert "g.yaml:5: nodes.n: node n: the graph gives inputs z; the model takes x FP32[-1, 2]" in output
    assert "g.yaml:6: outputs.y: m has no output wrong; it gives y" in output
    assert millrace("check", graph, "--root", tmp_path, "--no-load")[0] == 0


def test_check_loads_only_what_a_trusted_key_signed(tmp_path: Path) -> None:
    folder = tmp_path / "models/m/1"
    folder.mkdir(parents=True)
    (folder / "signature.json").write_text(f'{{"module": "{NODES}Add", "kwargs": {{}}}}')
    nodes = "{m: {model: models/m, inputs: {x: x}}}"
    (tmp_path / "g.yaml").write_text(f"name: g\ninputs: {{x: 'FP32[-1, 2]'}}\nnodes: {nodes}\noutputs: {{y: m.y}}\n")
    config = tmp_path / "serve.yaml"
    config.write_text(
        "applications:\n  - name: m\n    import_path: deployments.app:build\n    route_prefix: /\n"
        f"    args: {{graphs: [g.yaml], root: '{tmp_path}', trusted_keys: [ours.pub]}}\n"
    )
    code, output = millrace("check", config)
    assert code == 1
    assert "ours.pub is no Ed25519 public key" in output
    assert "not signed" not in output  # nothing is loaded
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    (tmp_path / "ours.pub").write_bytes(public.public_bytes(encoding, form))
    code, output = millrace("check", config)
    assert code == 1
    assert "g.yaml:3: nodes.m: node m:" in output
    assert "1 is not signed" in output


def test_check_finds_an_output_without_a_type(tmp_path: Path) -> None:
    graph = tmp_path / "g.yaml"
    graph.write_text(
        f"name: g\ninputs: {{x: 'FP32[-1, 2]'}}\nnodes: {{a: {{call: '{NODES}refuse_negative', inputs: {{x: x}}}}}}\n"
        "outputs: {y: a.y}\n"
    )
    code, output = millrace("check", graph)
    assert code == 1
    assert "outputs.y: nothing declares the datatype and shape of a.y" in output
