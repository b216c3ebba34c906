"""Loading graphs: everything wrong is reported at once, in plain words, each with its line."""

import pickle
from pathlib import Path

import jsonschema
import pytest
import yaml

from configs.errors import ConfigError
from configs.graph import EnsembleNode, ModelNode
from configs.loader import graph_json_schema, load_graph

DIGITS = """\
name: digits
inputs:  {image: {datatype: UINT8, shape: [-1, 8, 8]}}
nodes:
  scale:  {call: examples.digits.nodes:Scale, inputs: {image: image}}
  cnn:    {model: models/digits-cnn,    inputs: {x: scale.x}, gpus: 0.25, replicas: {min: 1, max: 4}, batch: {max_rows: 64}}
  forest: {model: models/digits-forest, inputs: {x: scale.x}}
  vote:   {ensemble: weighted_mean, weights: [2, 1], inputs: {members: [cnn.probs, forest.probs]}}
  top:    {call: graphs.nodes:TopK, with: {k: 1}, inputs: {scores: vote.mean}}
outputs: {label: top.label, score: top.score}
"""  # noqa: E501 (as in the issue)


@pytest.fixture
def problems(tmp_path: Path):
    """The blocks of the error that a text gives, without the path of the file."""

    def problems(text: str) -> list[str]:
        path = tmp_path / "graph.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_graph(path)
        assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message
        return [line.removeprefix(f"{path}:") for line in caught.value.message.splitlines()]

    return problems


@pytest.fixture
def node(problems):
    """The one problem of a graph whose only mistake is in the node `n`, after its place."""

    def node(text: str) -> str:
        found = problems(f"name: g\ninputs: {{x: 'FP32[-1]'}}\nnodes:\n  n: {text}\noutputs: {{y: n.y}}\n")
        assert len(found) == 1
        return found[0].removeprefix("4: nodes.")

    return node


@pytest.mark.parametrize("name", ["docs", "v2"])
def test_no_graph_hides_a_path_of_the_server(problems, name):
    (found,) = problems(DIGITS.replace("name: digits", f"name: {name}"))
    assert found.startswith(f"1: name: /{name} is a path of the server itself; choose another name")


@pytest.mark.parametrize("name", ["openapi.json", "v2/models", "'-'"])
def test_no_graph_has_a_name_that_is_no_path_segment_of_its_own(problems, name):
    (found,) = problems(DIGITS.replace("name: digits", f"name: {name}"))
    assert "must be a name of letters, digits, _ and - that starts with a letter" in found


def test_the_example_loads(tmp_path):
    path = tmp_path / "digits.yaml"
    path.write_text(DIGITS)
    graph = load_graph(path)
    assert graph.name == "digits"
    assert isinstance(graph.nodes["cnn"], ModelNode)
    assert graph.nodes["cnn"].gpus == 0.25
    assert isinstance(graph.nodes["vote"], EnsembleNode)
    assert graph.nodes["vote"].weights == [2, 1]


def test_every_problem_is_reported_at_once_in_the_order_of_lines(problems):
    assert problems(
        "name: two words\n"
        "inputs:\n"
        "  x: FP32[-1\n"
        "  y: {datatype: FP31, shape: [-1, a]}\n"
        "nodes:\n"
        "  cnn:\n"
        "    model: m\n"
        "    batch:\n"
        "      max_rows: 0\n"
        "  top: {call: 'a:b', batchs: {max_rows: 3}}\n"
        "  top: {call: nocolon}\n"
        "outputs: {l: a.b.c}\n"
        "profiles: {cpu: {cnn: {gpu: 0}}}\n"
    ) == [
        '1: name: must be a name of letters, digits, _ and - that starts with a letter (value "two words")',
        '3: inputs.x: \'FP32[-1\' is not a tensor; write it like "FP32[-1, 10]" (value "FP32[-1")',
        "4: inputs.y.datatype: must be one of `BOOL`, `UINT8`, `UINT16`, `UINT32`, `UINT64`, `INT8`, `INT16`, `INT32`, "
        '`INT64`, `FP16`, `BF16`, `FP32`, `FP64`, `BYTES` (value "FP31"); did you mean `FP32`?',
        '4: inputs.y.shape[1]: must be a whole number (value "a"); expected: '
        "Dimensions; the first is the rows and must be -1, others -1 or a fixed size",
        "9: nodes.cnn.batch.max_rows: must be at least 1 (value 0); expected: Most rows in one call",
        "11: nodes.top: the key `top` is given twice, first on line 10; remove one of them",
        '11: nodes.top.call: must be an import path `package.module:name` (value "nocolon")',
        '12: outputs.l: must be a graph input (`image`) or a node\'s output (`scale.x`) (value "a.b.c")',
        "13: profiles.cpu.cnn.gpu: unknown key `gpu`; did you mean `gpus`?",
    ]


def test_missing_keys_say_what_they_mean(problems):
    assert problems("nam: g\nnodes: {a: {call: 'a:b'}}\noutputs: {y: a.y}\n") == [
        "1: name: is missing; add it: Name of the graph: its path and its model name for clients",
        "1: inputs: is missing; add it: What a request must carry",
        "1: nam: unknown key `nam`; did you mean `name`?",
    ]


def test_empty_parts(problems):
    assert problems("name: g\ninputs: {}\nnodes:\noutputs: [y]\n") == [
        "2: inputs: must be longer: it has 0 of at least 1 entries (value {}); expected: What a request must carry",
        "3: nodes: must be a mapping (value null); write a value or remove the key",
        '4: outputs: must be a mapping (value ["y"]); expected: Output name → reference',
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{model: m, batchs: {max_rows: 1}}", "n.batchs: unknown key `batchs`; did you mean `batch`?"),
        (
            "{graph: g.yaml, colour: red}",
            "n.colour: unknown key `colour`; known keys: inputs, outputs, cpus, gpus, replicas, isolate, batch, ",
        ),
        (
            "{modle: m}",
            "n: a node has exactly one of the keys call, model, models, lookup, retrieve, ensemble, switch, graph; "
            'this one has none of them (value {"modle": "m"}); did you mean `model`?',
        ),
        ("{model: m, inputs: {x: 3}}", "n.inputs.x: must be text (value 3); put it in quotes"),
        (
            "{model: m, inputs: {x: yes}}",
            "n.inputs.x: must be text (value true); put it in quotes: YAML reads on, off, yes and no as true and false",
        ),
        ("{model: m, replicas: 0}", "n.replicas: must be at least 1 (value 0); expected: Fewest replicas"),
        ("{model: m, idempotent: false, retries: 1}", "n: remove retries: the node is not idempotent"),
        ("{model: m, hedge: true, replicas: 1}", "n: `hedge` asks a second replica"),
        ("{call: 'a:b', sequences: {}, cache: {}}", "n: remove cache: a call that changes state is made once"),
        ("{model: m, fallback: {}}", "n.fallback: give exactly one of constant, call and model"),
        ("{model: m, cache: {ttl_s: 0}}", "n.cache.ttl_s: must be more than 0"),
        (
            "{model: m, replicas: {min: 3, max: 1}}",
            'n.replicas: min 3 is greater than max 1 (value {"max": 1, "min": 3}); '
            "expected: A number, or {min, max}. Placed when given",
        ),
        (
            "{ensemble: weighted_meen, inputs: {members: [x]}}",
            "n.ensemble: must be one of `mean`, `weighted_mean`, `majority_vote`, `max`, `concat`, `stacking` or "
            'an import path `package.module:name` (value "weighted_meen"); did you mean `weighted_mean`?',
        ),
        ("{ensemble: mean, inputs: {members: [x, 1.2.3]}}", "n.inputs.members[1]: must be a graph input"),
        ("{ensemble: weighted_mean, inputs: {members: [x]}}", "n: `weights` goes with `ensemble: weighted_mean`"),
        ("{model: m, gpus: many}", 'n.gpus: must be a number (value "many")'),
        ("{model: m, gpus: -1}", "n.gpus: must be at least 0 (value -1)"),
        ("{model: m, cpus: 0}", "n.cpus: must be more than 0 (value 0)"),
        ("{model: m, isolate: perhaps}", 'n.isolate: must be true or false (value "perhaps")'),
        ("{model: m, trust: all}", 'n.trust: must be `pickle` (value "all")'),
        ("{switch: 'a:b', cases: {true: {y: 3}}}", "n.cases.true.y: must be text (value 3)"),
        ("{model: m, outputs: {y: 'FP31[-1]'}}", "n.outputs.y: must be one of `BOOL`"),
        ("5", "n: must be a mapping (value 5)"),
        ("{model: '', inputs: {x: x}}", "n.model: must be text of at least 1 character(s)"),
    ],
)
def test_mistakes_inside_a_node(node, text, problem):
    assert node(text).startswith(problem)


def test_only_a_registry_has_aliases(node):
    text = "{{model: '{}', versions: {{alias: best}}, inputs: {{x: x}}}}"
    assert "models/m has no aliases" in (found := node(text.format("models/m")))
    assert "use `latest`, `all` or `only`" in found
    ModelNode.model_validate(yaml.safe_load(text.format("mlflow:m")))


def test_keys_that_are_not_names(problems):
    text = "name: g\ninputs: {x: 'FP32[-1]'}\nnodes:\n  1st: {call: 'a:b'}\n  on: {call: 'a:b'}\noutputs: {y: x}\n"
    assert problems(text) == [
        '4: nodes.1st: the key must be a name of letters, digits and _ that does not start with a digit (value "1st")',
        "5: nodes.true: the key must be text (value true); "
        "put it in quotes: YAML reads on, off, yes and no as true and false",
    ]


def test_a_long_value_is_cut(node):
    found = node("{model: m, gpus: [" + ", ".join(["'" + "x" * 200 + "'"] * 50) + "]}")
    assert len(found) < 300


def test_text_that_cannot_be_encoded_is_still_reported(node):
    assert "ud800" in node('{model: m, gpus: "\\ud800"}')


def validator() -> jsonschema.protocols.Validator:
    schema = graph_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_json_schema_accepts_the_example():
    validator().validate(yaml.safe_load(DIGITS))


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"image": "UINT8[-1, 8, 8]"}},
        {"inputs": {"image": ["UINT8", [-1, 8, 8]]}},
        {"nodes": {"n": {"model": "m", "replicas": 2}}},
        {"nodes": {"n": {"ensemble": "stacking", "model": "m", "inputs": {"members": ["a", "b"]}}}},
        {"nodes": {"n": {"switch": "a:b", "with": {"t": 1}, "cases": {"x": {"y": "a"}}}}},
        {"nodes": {"n": {"graph": "other.yaml", "inputs": {"x": "image"}}}},
    ],
)
def test_json_schema_accepts_every_spelling(change):
    validator().validate({**yaml.safe_load(DIGITS), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"bach": {"max_rows": 1}},
        {"nodes": {"n": {"model": "m", "batchs": {"max_rows": 1}}}},
        {"nodes": {"1n": {"model": "m"}}},
        {"nodes": {"n": {"inputs": {}}}},
        {"inputs": {"image": {"datatype": "UINT8", "shape": [-1], "min": 0}}},
        {"inputs": {"image": "UINT8"}},
    ],
)
def test_json_schema_refuses_mistakes(change):
    with pytest.raises(jsonschema.ValidationError):
        validator().validate({**yaml.safe_load(DIGITS), **change})


def test_json_schema_offers_the_keys_of_every_node_kind():
    definitions = graph_json_schema()["$defs"]
    kinds = {"call": "CallNode", "model": "ModelNode", "ensemble": "EnsembleNode"}
    kinds |= {"models": "ModelsNode", "switch": "SwitchNode", "graph": "SubgraphNode"}
    kinds |= {"lookup": "LookupNode", "retrieve": "RetrieveNode"}
    assert all(key in definitions[kind]["required"] for key, kind in kinds.items())
    offered = graph_json_schema()["properties"]["nodes"]["patternProperties"].popitem()[1]["anyOf"]
    assert {item["$ref"] for item in offered} == {f"#/$defs/{kind}" for kind in kinds.values()}
