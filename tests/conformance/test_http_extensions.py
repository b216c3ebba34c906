"""Classification, statistics, configuration and repository over HTTP."""

import json
from typing import Any

import pytest
from rest import DIFFERENCE, SUM, A, Rest, output, refused, simple, take_apart, tensor, values

pytestmark = pytest.mark.model("simple")


def classes(texts: list[str]) -> list[tuple[float, int]]:
    """Value and index of each `<value>:<index>[:<label>]`."""
    parts = [text.split(":", 2) for text in texts]
    return [(float(part[0]), int(part[1])) for part in parts]


def asked(count: object, **more: Any) -> dict[str, Any]:
    """OUTPUT0 of `simple` as classes."""
    return simple(outputs=[{"name": "OUTPUT0", "parameters": {"classification": count, **more}}])


@pytest.mark.needs("classification")
def test_classification(rest: Rest) -> None:
    """Triton, "Classification Extension": BYTES [batch, count], "<value>:<index>", highest value first."""
    document = rest.answer("simple", asked(3))
    found = output(document, "OUTPUT0")
    assert found["datatype"] == "BYTES"
    assert found["shape"] == [1, 3]
    assert classes(values(document, "OUTPUT0")) == [(16, 15), (15, 14), (14, 13)]


@pytest.mark.needs("classification")
def test_classification_of_each_row(rest: Rest) -> None:
    """Triton, "Classification Extension": the top classes of each row of the batch."""
    inputs = [
        tensor("INPUT0", "INT32", [2, 16], [*A, *reversed(A)]),
        tensor("INPUT1", "INT32", [2, 16], [0] * 32),
    ]
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": 2}}, {"name": "OUTPUT1"}]
    document = rest.answer("simple", {"inputs": inputs, "outputs": outputs})
    assert output(document, "OUTPUT0")["shape"] == [2, 2]
    assert classes(values(document, "OUTPUT0")) == [(15, 15), (14, 14), (15, 0), (14, 1)]
    assert values(document, "OUTPUT1") == [*A, *reversed(A)]


@pytest.mark.needs("classification", "binary")
def test_classification_in_binary(rest: Rest) -> None:
    """Triton, "Classification Extension" with "Binary Tensor Data Extension": BYTES elements."""
    answer = take_apart(rest.infer("simple", asked(2, binary_data=True)))
    assert answer.output("OUTPUT0")["shape"] == [1, 2]
    assert classes([value.decode() for value in answer.values("OUTPUT0")]) == [(16, 15), (15, 14)]


@pytest.mark.needs("classification")
@pytest.mark.parametrize("count", [-1, "three", 1.5])
def test_wrong_classification(rest: Rest, count: object) -> None:
    """Triton, "Classification Extension": `classification` is the number of classes."""
    refused(rest.infer("simple", asked(count)))


def statistics(rest: Rest, path: str = "/v2/models/simple/stats") -> dict[str, Any]:
    """The statistics of `simple`."""
    response = rest.get(path)
    assert response.status_code == 200, response.text
    found: dict[str, Any]
    [found] = [item for item in response.json()["model_stats"] if item["name"] == "simple"]
    return found


@pytest.mark.needs("statistics")
def test_statistics_count(rest: Rest) -> None:
    """Triton, "Statistics Response JSON Object": "a single inference request with batch size" 3 counts 3, success 1."""
    before = statistics(rest)
    inputs = [tensor("INPUT0", "INT32", [3, 16], A * 3), tensor("INPUT1", "INT32", [3, 16], A * 3)]
    rest.answer("simple", {"inputs": inputs})
    after = statistics(rest)
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["last_inference"] >= before["last_inference"]
    assert after["last_inference"] > 1_500_000_000_000, "milliseconds since the epoch"
    success, earlier = (stats["inference_stats"]["success"] for stats in (after, before))
    assert success["count"] - earlier["count"] == 1
    assert success["ns"] > earlier["ns"]


@pytest.mark.needs("statistics")
def test_statistics_form(rest: Rest) -> None:
    """Triton, "Statistics Response JSON Object": durations are `{"count", "ns"}`; batches have their size."""
    rest.answer("simple", simple())
    found = statistics(rest)
    for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"):
        duration = found["inference_stats"][name]
        assert isinstance(duration["count"], int)
        assert isinstance(duration["ns"], int)
    assert found["batch_stats"]
    for batch in found["batch_stats"]:
        assert batch["batch_size"] >= 1
        assert batch["compute_infer"]["count"] >= 1


@pytest.mark.needs("statistics")
def test_statistics_of_all_models(rest: Rest) -> None:
    """Triton, "Statistics Extension": without a model in the path, all models."""
    assert statistics(rest, "/v2/models/stats")["name"] == "simple"


@pytest.mark.needs("statistics")
def test_statistics_of_a_version(rest: Rest) -> None:
    """Triton, "Statistics Extension": of one version."""
    version = rest.get("/v2/models/simple").json()["versions"][0]
    assert statistics(rest, f"/v2/models/simple/versions/{version}/stats")["version"] == version


@pytest.mark.needs("statistics")
def test_statistics_of_an_unknown_model(rest: Rest) -> None:
    """Triton, "Statistics Response JSON Error Object"."""
    refused(rest.get("/v2/models/no_such_model/stats"))


@pytest.mark.needs("config")
def test_config(rest: Rest) -> None:
    """Triton, "Model Configuration Extension": the JSON of the ModelConfig message; `dims` without the batch."""
    response = rest.get("/v2/models/simple/config")
    assert response.status_code == 200
    config = response.json()
    assert config["name"] == "simple"
    batched = config.get("max_batch_size", 0) > 0
    dims = [16] if batched else [-1, 16]
    for kind, names in (("input", {"INPUT0", "INPUT1"}), ("output", {"OUTPUT0", "OUTPUT1"})):
        assert {item["name"] for item in config[kind]} == names
        for item in config[kind]:
            assert item["data_type"] == "TYPE_INT32"
            # protobuf's JSON writes 64-bit integers as text
            assert [int(size) for size in item["dims"]] == dims


@pytest.mark.needs("config")
def test_config_of_an_unknown_model(rest: Rest) -> None:
    """Triton, "Model Configuration Response JSON Error Object"."""
    refused(rest.get("/v2/models/no_such_model/config"))


@pytest.mark.needs("repository")
@pytest.mark.parametrize("body", [b"{}", b'{"ready": true}'])
def test_repository_index(rest: Rest, body: bytes) -> None:
    """Triton, "Model Repository Extension", "Index": name, version, state, reason of each model."""
    response = rest.post("/v2/repository/index", body)
    assert response.status_code == 200, response.text
    [found] = [item for item in response.json() if item["name"] == "simple"]
    assert found["state"] == "READY"
    assert isinstance(found.get("reason", ""), str)


@pytest.mark.needs("load")
def test_unload_and_load(rest: Rest) -> None:
    """Triton, "Load" and "Unload": an unloaded model is not ready and answers nothing, a loaded one does."""
    path = "/v2/repository/models/simple"
    assert rest.post(f"{path}/unload", b"").status_code == 200
    try:
        assert rest.get("/v2/models/simple/ready").status_code != 200
        refused(rest.infer("simple", simple()))
    finally:
        assert rest.post(f"{path}/load", json.dumps({})).status_code == 200
    assert values(rest.answer("simple", simple()), "OUTPUT0") == SUM
    assert values(rest.answer("simple", simple()), "OUTPUT1") == DIFFERENCE


@pytest.mark.needs("repository")
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_load_of_an_unknown_model(rest: Rest, verb: str) -> None:
    """Triton, "Load" and "Unload": a failed request is "indicated by an HTTP error status"."""
    if verb == "unload":
        response = rest.post("/v2/repository/models/no_such_model/unload", b"")
        assert response.status_code == 200 or refused(response)  # Triton: what is not there is unloaded
    else:
        refused(rest.post("/v2/repository/models/no_such_model/load", b""))
