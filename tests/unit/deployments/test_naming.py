"""A graph of many models at every door: which one a request names by the path, the header or the input."""

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import numpy as np
import pytest

from configs.errors import InvalidInput, MillraceError, NotFound
from configs.graph import GraphConfig
from configs.tensors import Rows, Signature, TensorSpec
from deployments.answering import Answering
from deployments.gateway import Gateway
from deployments.naming import naming_of
from deployments.protocols import grpc_pool
from deployments.protocols import v2_proto as v2
from deployments.recorder import Recorder
from deployments.routes import LocalGraph
from deployments.statistics import Statistics
from graphs.flat import flatten
from graphs.run import Trace
from graphs.terms import UNHURRIED, Terms
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import Counted, call, chunk, gateway
from tests.unit.deployments.grpc_server import serving

INPUTS = {"tenant": "BYTES[-1]", "x": "FP32[-1, 2]"}
X = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}
TENANT = {"name": "tenant", "datatype": "BYTES", "shape": [2], "data": ["acme", "zeta"]}
UNKNOWN = "Request for unknown model: 'tenants.nobody' is not found"


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Answering, Counted]:
    """A graph `tenants` that gives back its inputs, with the models acme and zeta-2.1; and the graph `g`."""
    monkeypatch.setattr("servables.versions.QUIET_S", 0.0)
    for model in ("acme", "zeta-2.1", "no name"):
        (tmp_path / "models" / model / "1").mkdir(parents=True)
        (tmp_path / "models" / model / "1" / "weights.bin").write_bytes(b"1")
    answering, counted = gateway()
    counted.statistics = Statistics(["g", "tenants"])
    specs = {name: TensorSpec.model_validate(spec) for name, spec in INPUTS.items()}
    signature = Signature(inputs=specs, outputs=specs)
    g = answering.services["g"]
    executor = SimpleNamespace(run=run, stream=stream, plan=g.executor.plan)
    made = replace(
        g, name="tenants", signature=signature, executor=cast(Any, executor), naming=naming(signature, tmp_path)
    )
    return Answering({"g": g, "tenants": made}, cast(Recorder, counted)), counted


async def run(rows: Rows, count: int, terms: Terms = UNHURRIED) -> tuple[Rows, Trace]:
    assert len(rows["tenant"]) == count
    return rows, Trace()


async def stream(rows: Rows, count: int, terms: Terms = UNHURRIED) -> AsyncGenerator[tuple[Rows, Trace]]:
    yield await run(rows, count, terms)


def naming(signature: Signature, root: Path, **fields: Any) -> Any:
    node = {"models": "models", "inputs": {"model": "tenant", "x": "x"}, **fields}
    document = {"name": "tenants", "inputs": INPUTS, "nodes": {"score": node}, "outputs": {"y": "score.y"}}
    return naming_of(flatten(GraphConfig.model_validate(document), lambda path: pytest.fail(path)), signature, root)


async def ask(
    answering: Answering, path: str, document: Any = None, method: str = "", **headers: str
) -> tuple[int, dict[str, Any]]:
    body = b"" if document is None else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    method = method or ("GET" if document is None else "POST")
    status, got, answer = await call(answering, path, chunk(body), method=method, headers=named)
    events = got[b"content-type"].startswith(b"text/event-stream")
    return status, json.loads(answer.removeprefix(b"data: ") if events else answer)


ONE_ROW = {"x": [1, 2]}
ROUTES: dict[str, Any] = {
    "/{}": {"x": [[1, 2], [3, 4]]},
    "/v2/models/{}/infer": {"inputs": [X]},
    "/v2/models/{}/versions/1/infer": {"inputs": [X]},
    "/v2/models/{}/generate": ONE_ROW,
    "/v2/models/{}/generate_stream": ONE_ROW,
    "/v1/models/{}:predict": {"instances": [[1, 2], [3, 4]]},
    "/v1/models/{}/versions/1:predict": {"inputs": {"x": [[1, 2], [3, 4]]}},
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("model", ["acme", "zeta-2.1"])
async def test_the_path_or_the_header_names_the_model(path: str, model: str, door: tuple[Answering, Counted]) -> None:
    answering, counted = door
    header = {"x_model": model}
    for named, headers in ((f"tenants.{model}", {}), ("tenants", header), (f"tenants.{model}", header)):
        status, answer = await ask(answering, path.format(named), ROUTES[path], **headers)
        assert status == 200
        assert model in json.dumps(answer)
        assert answer.get("model_name", named) == named
    assert {(graph, code) for graph, _, code in counted.requests} == {("tenants", "OK")}


async def test_the_input_names_each_rows_model(door: tuple[Answering, Counted]) -> None:
    status, answer = await ask(door[0], "/v2/models/tenants/infer", {"inputs": [X, TENANT]})
    assert (status, answer["outputs"][1]["data"]) == (200, ["acme", "zeta"])


@pytest.mark.parametrize("path", ROUTES)
async def test_two_names_are_refused(path: str, door: tuple[Answering, Counted]) -> None:
    answering, counted = door
    status, answer = await ask(answering, path.format("tenants.acme"), ROUTES[path], x_model="zeta")
    assert status == 400
    assert answer["error"] == "two models are named: 'acme' in tenants.acme, 'zeta' in the header x-model; name one"
    both = {**ROUTES[path]}
    if "inputs" in both:
        both["inputs"] = [X, TENANT] if "infer" in path else {**both["inputs"], "tenant": ["acme"] * 2}
    elif "instances" in both:
        both["instances"] = [{"x": [1, 2], "tenant": "acme"}]
    else:
        both["tenant"] = "acme" if "generate" in path else ["acme"] * 2
    for named, headers in (("tenants.acme", {}), ("tenants", {"x_model": "acme"})):
        status, answer = await ask(answering, path.format(named), both, **headers)
        assert (status, answer["error"][:42]) == (400, "unknown input 'tenant'; the graph takes x ")
    assert {(graph, code) for graph, _, code in counted.requests} == {("tenants", "400")}


@pytest.mark.parametrize("model", ["", "..", ".hidden", "a b", "é", "a" * 129])
async def test_names_that_no_model_can_have(model: str, door: tuple[Answering, Counted]) -> None:
    for path in (f"/v2/models/tenants.{model}/infer", f"/v2/models/tenants.{model}", f"/tenants.{model}"):
        status, answer = await ask(door[0], path, {"inputs": [X]} if path.endswith("infer") else None)
        assert status == 404
        assert answer["error"].startswith(f"Request for unknown model: 'tenants.{model[:90]}")


async def test_what_is_told_of_a_model(door: tuple[Answering, Counted]) -> None:
    answering, _ = door
    for base in ("/v2/models/tenants.acme", "/v2/models/tenants.acme/versions/1", "/tenants.acme"):
        status, told = await ask(answering, base)
        assert (status, told["name"], [each["name"] for each in told["inputs"]]) == (200, "tenants.acme", ["x"])
    assert [each["name"] for each in (await ask(answering, "/v2/models/tenants"))[1]["inputs"]] == ["tenant", "x"]
    assert (await ask(answering, "/v2/models/tenants.acme/ready"))[1] == {"name": "tenants.acme", "ready": True}
    assert len((await ask(answering, "/v2/models/tenants.acme/config"))[1]["input"]) == 1
    assert (await ask(answering, "/v1/models/tenants.acme"))[1]["name"] == "tenants.acme"
    _, statistics = await ask(answering, "/v2/models/tenants.acme/stats")
    assert [graph["name"] for graph in statistics["model_stats"]] == ["tenants"]


@pytest.mark.parametrize("path", ["/v2/models/{}/ready", "/v2/models/{}", "/v1/models/{}", "/{}"])
async def test_a_model_that_is_not_there(path: str, door: tuple[Answering, Counted]) -> None:
    assert await ask(door[0], path.format("tenants.nobody")) == (404, {"error": UNKNOWN})
    assert await ask(door[0], path.format("tenants"), x_model="nobody") == (404, {"error": UNKNOWN})


@pytest.mark.parametrize("path", ["/v2/models/g.acme/ready", "/v2/models/z.acme/infer", "/v2/models/tenants.acme/x"])
async def test_other_graphs_have_no_models(path: str, door: tuple[Answering, Counted]) -> None:
    assert (await ask(door[0], path))[0] == 404
    assert (await ask(door[0], "/g", {"x": [[1]]}, x_model="acme")) == (200, {"x": [[1]]})


async def test_the_repository_lists_the_models_and_leaves_them_alone(door: tuple[Answering, Counted]) -> None:
    _, index = await ask(door[0], "/v2/repository/index", {})
    names = ["g", "tenants", "tenants.acme", "tenants.zeta-2.1"]
    assert index == [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in names]
    for action in ("load", "unload"):
        status, answer = await ask(door[0], f"/v2/repository/models/tenants.acme/{action}", {})
        assert (status, "it is loaded when it is asked for" in answer["error"]) == (501, True)


async def test_the_document_tells_of_both_ways(door: tuple[Answering, Counted]) -> None:
    _, document = await ask(door[0], "/openapi.json")
    ways = {name: document["paths"][f"/{name}"] for name in ("tenants", "tenants.{model}")}
    shapes = [way["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"][0] for way in ways.values()]
    assert [list(shape["properties"]) for shape in shapes] == [["tenant", "x"], ["x"]]
    assert [parameter["name"] for parameter in ways["tenants.{model}"]["parameters"]] == ["model"]


def infer(name: str) -> Any:
    request = v2.ModelInferRequest(model_name=name, raw_input_contents=[bytes(16)])
    request.inputs.add(name="x", datatype="FP32", shape=[2, 2])
    return request


async def test_grpc(door: tuple[Answering, Counted]) -> None:
    answering, counted = door
    metadata = [("x-model", "acme")]
    async with serving(answering) as channel:
        for name, named in (("tenants.acme", None), ("tenants", metadata), ("tenants.acme", metadata)):
            reply = await rpc(channel, "ModelInfer")(infer(name), metadata=named)
            assert reply.model_name == name
            assert reply.raw_output_contents[1] == b"\4\0\0\0acme" * 2
        names = ["tenants", "tenants.zeta", "g.acme", "tenants.acme"]
        answers = rpc(channel, "ModelStreamInfer")(iter(map(infer, names)), metadata=metadata)
        told = [answer.error_message or answer.infer_response.model_name async for answer in answers]
    assert [told[0], told[3]] == ["tenants", "tenants.acme"]
    assert "two models are named: 'zeta'" in told[1]
    assert "unknown model: 'g.acme'" in told[2]
    codes = {(graph, code) for graph, _, code in counted.requests}
    assert codes == {("tenants", "OK"), ("tenants", "INVALID_ARGUMENT"), ("", "NOT_FOUND")}


async def test_grpc_tells_of_a_model(door: tuple[Answering, Counted]) -> None:
    health = grpc_pool.message("grpc.health.v1.HealthCheckRequest")
    async with serving(door[0]) as channel:
        told = await rpc(channel, "ModelMetadata")(v2.ModelMetadataRequest(name="tenants.acme"))
        assert (told.name, [each.name for each in told.inputs]) == ("tenants.acme", ["x"])
        assert (await rpc(channel, "ModelConfig")(v2.ModelConfigRequest(name="tenants.acme"))).config.name == told.name
        statistics = await rpc(channel, "ModelStatistics")(v2.ModelStatisticsRequest(name="tenants.acme"))
        assert [each.name for each in statistics.model_stats] == ["tenants"]
        ready = rpc(channel, "ModelReady")
        assert [(await ready(v2.ModelReadyRequest(name=f"tenants.{each}"))).ready for each in ("acme", "nobody")] == [
            True,
            False,
        ]
        index = await rpc(channel, "RepositoryIndex")(v2.RepositoryIndexRequest())
        assert [each.name for each in index.models][2:] == ["tenants.acme", "tenants.zeta-2.1"]
        assert (await rpc(channel, "grpc.health.v1.Health/Check")(health(service="tenants.acme"))).status == 1
        for path, message, code in (
            ("ModelMetadata", v2.ModelMetadataRequest(name="tenants.nobody"), "NOT_FOUND"),
            ("grpc.health.v1.Health/Check", health(service="tenants.nobody"), "NOT_FOUND"),
            ("RepositoryModelLoad", v2.RepositoryModelLoadRequest(model_name="tenants.acme"), "UNIMPLEMENTED"),
            ("RepositoryModelUnload", v2.RepositoryModelUnloadRequest(model_name="tenants.acme"), "UNIMPLEMENTED"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc(channel, path)(message)
            assert caught.value.code().name == code


async def test_handles(door: tuple[Answering, Counted]) -> None:
    answering, counted = door
    made = object.__new__(type("Started", (Gateway,), {"__del__": lambda self: None}))
    made.answering = answering
    started = cast(Gateway, made)
    signature = await started.describe("tenants.acme")
    assert isinstance(signature, Signature)
    assert list(signature.inputs or {}) == ["x"]
    outputs = await started.infer("tenants.acme", {"x": np.zeros((2, 2), np.float32)})
    assert not isinstance(outputs, MillraceError)
    assert outputs["tenant"].tolist() == [b"acme"] * 2
    assert isinstance(await started.describe("tenants.nobody"), NotFound)
    assert isinstance(await started.infer("tenants.acme", {"tenant": np.array([b"a"])}), InvalidInput)
    local = LocalGraph(answering, "tenants.acme", UNHURRIED)
    assert (await local.predict_async(x=[[1, 2]]))["tenant"].tolist() == [b"acme"]
    assert {graph for graph, _, _ in counted.requests} == {"tenants"}


def test_who_can_name_models(tmp_path: Path) -> None:
    specs = {name: TensorSpec.model_validate(spec) for name, spec in INPUTS.items()}
    both, alone = (Signature(inputs=inputs, outputs={}) for inputs in (specs, {"tenant": specs["tenant"]}))
    assert naming(alone, tmp_path) is None
    missing = naming(both, tmp_path)
    assert (missing.input, missing.models()) == ("tenant", [])
    remote = naming(both, tmp_path, models="s3://bucket/models", outputs={"y": "FP32[-1, 2]"})
    remote.check("tenants.any", "any")
    assert remote.models() == []
