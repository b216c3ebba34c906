"""What good requests get: every datatype, files, cascades, documentation, timing, one shared GPU."""

import io
import json
import re

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from configs.tensors import Datatype
from deployments.protocols import v2_proto
from deployments.protocols.binary import from_bytes, to_bytes
from tests.support.grpc_client import call
from tests.support.server import Server

INFER = "/v2/models/identity/infer"


def of_every_datatype() -> dict[str, np.ndarray]:
    """Three rows each, with the extremes of the type."""
    rows: dict[str, np.ndarray] = {"bool": np.array([[True, False], [False, False], [True, True]])}
    for datatype in Datatype:
        if datatype.value.startswith(("INT", "UINT")):
            limits = np.iinfo(datatype.dtype)
            rows[datatype.value.lower()] = np.array([[limits.min, limits.max], [0, 1], [2, 3]], datatype.dtype)
    rows |= {name: np.array([[0.1, -2], [3e4, 0], [1, 1e-4]], name.replace("fp", "float")) for name in ("fp16", "fp32")}
    rows["fp64"] = np.array([[0.1, -1e308], [5e-324, 0], [1, 2]])
    rows["bf16"] = np.array([[0.1, 3e38], [-1, 0], [1, 2]], ml_dtypes.bfloat16)
    rows["bytes"] = np.array([[b"", "é\0".encode()], [b"a" * 1000, b"1"], [b"{}", b'"']], object)
    return rows


def described(name: str, array: np.ndarray) -> dict:
    return {"name": name, "datatype": Datatype.of(array).value, "shape": array.shape}


def same(found: np.ndarray, sent: np.ndarray) -> bool:
    return bytes(to_bytes(found)) == bytes(to_bytes(sent))


def test_every_datatype_in_binary(server: Server) -> None:
    rows = of_every_datatype()
    buffers = {name: bytes(to_bytes(array)) for name, array in rows.items()}
    inputs = [
        described(name, array) | {"parameters": {"binary_data_size": len(buffers[name])}}
        for name, array in rows.items()
    ]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}, "id": "é1"}).encode()
    body = header + b"".join(buffers.values())
    answer = server.request(INFER, body, {"inference-header-content-length": str(len(header))})
    assert answer.status == 200, answer.body
    at = int(answer.headers["inference-header-content-length"])
    document = json.loads(answer.body[:at])
    assert document["id"] == "é1"
    assert len(document["outputs"]) == len(rows) == len(Datatype)
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        assert answer.body[at : at + size] == buffers[output["name"]]
        at += size
    assert at == len(answer.body)


def test_every_datatype_in_json(server: Server) -> None:
    rows = of_every_datatype()

    def data(array: np.ndarray) -> list:
        if array.dtype == object:
            return [item.decode() for item in array.ravel()]
        return array.astype(np.float64).ravel().tolist() if array.dtype.kind in "fV" else array.ravel().tolist()

    body = json.dumps({"inputs": [described(name, array) | {"data": data(array)} for name, array in rows.items()]})
    answer = server.request(INFER, body.encode())
    assert answer.status == 200, answer.body
    for output in answer.json["outputs"]:
        sent = rows[output["name"]]
        values = [item.encode() for item in output["data"]] if sent.dtype == object else output["data"]
        assert same(np.array(values, sent.dtype).reshape(output["shape"]), sent), output


def test_every_datatype_over_grpc(server: Server) -> None:
    rows = of_every_datatype()
    request = v2_proto.ModelInferRequest(model_name="identity", id="7")
    for name, array in rows.items():
        request.inputs.add(**described(name, array))
        request.raw_input_contents.append(bytes(to_bytes(array)))
    answer = v2_proto.ModelInferResponse.FromString(call(server.grpc, "ModelInfer", request.SerializeToString()))
    assert answer.id == "7"
    for output, content in zip(answer.outputs, answer.raw_output_contents, strict=True):
        found = from_bytes(output.name, content, Datatype(output.datatype), list(output.shape))
        assert same(found, rows[output.name])


@pytest.fixture(params=["PNG", "JPEG"])
def grey(request: pytest.FixtureRequest) -> bytes:
    """A file of 16 × 16 pixels of grey level 128."""
    file = io.BytesIO()
    Image.fromarray(np.full((16, 16), 128, np.uint8)).save(file, request.param)
    return file.getvalue()


def test_a_file_as_the_raw_body(server: Server, grey: bytes) -> None:
    answer = server.request("/picture", grey, {"content-type": "image/*"})
    assert answer.json == {"brightness": 128.0}


def test_files_of_a_form(server: Server, grey: bytes) -> None:
    parts = [b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%s\r\n' % grey] * 2
    body = b"".join([*parts, b"--b--\r\n"])
    answer = server.request("/picture", body, {"content-type": "multipart/form-data; boundary=b"})
    assert answer.json == {"brightness": [128.0, 128.0]}


def test_rows_of_a_cascade_come_back_in_order(server: Server) -> None:
    answer = server.request("/cascade", {"x": [[1, 2], [20, 1], [3, 0], [30, 30]]})
    assert answer.json == {"y": [[101, 102], [21, 2], [103, 100], [31, 31]]}


def test_a_cascade_does_not_call_the_larger_model_for_confident_rows(server: Server) -> None:
    answer = server.request("/cascade", {"x": [[20, 1]]})
    assert answer.json == {"y": [[21, 2]]}
    assert "big.compute" not in answer.headers["server-timing"]


@pytest.mark.proxy("haproxy")
def test_two_halves_share_one_gpu(server: Server) -> None:
    answer = server.request("/halves", {"x": [[0, 0]]}).json
    # One of the cluster's two: Ray fills it before it opens the other.
    assert answer["left_gpus"] == answer["right_gpus"]
    assert answer["left_gpus"] in (["0"], ["1"])
    assert answer["left_pid"] != answer["right_pid"]
    halves = [state for name, state in server.applications().items() if name.startswith("millrace.halves.")]
    booked = [state["deployments"]["stage"]["deployment_config"]["ray_actor_options"]["num_gpus"] for state in halves]
    assert booked == [0.5, 0.5]


def test_server_timing_names_the_total_and_each_node(server: Server) -> None:
    answer = server.request("/digits", {"image": [[[0] * 8] * 8]})
    timing = dict(re.findall(r"([\w.?-]+);dur=([\d.]+)", answer.headers["server-timing"]))
    assert {"total", "cnn.queue", "cnn.batch"} <= set(timing)
    assert {f"{node}.compute" for node in ("scale", "cnn", "forest", "vote", "top")} <= set(timing)
    assert float(timing["total"]) >= float(timing["cnn.compute"]) > 0


def test_openapi_has_each_graph_and_its_example_works(server: Server) -> None:
    document = server.request("/openapi.json").json
    assert {"/digits", "/picture", "/cascade"} <= set(document["paths"])
    body = document["paths"]["/digits"]["post"]["requestBody"]["content"]["application/json"]
    answer = server.request("/digits", body.get("example") or next(iter(body["examples"].values()))["value"])
    assert answer.json["label"] in ([0], [[0]])
    assert b"<html" in server.request("/docs").body.lower()


def test_health_and_metadata(server: Server) -> None:
    assert server.request("/v2/health/live").json == {"live": True}
    assert server.request("/v2/health/ready").json == {"ready": True}
    assert server.request("/v2").json["name"] == "millrace"
    assert server.request("/v2/models/digits/ready").status == 200
    metadata = server.request("/v2/models/digits/versions/1").json
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8]}]
    assert [output["datatype"] for output in metadata["outputs"]] == ["INT64", "FP32"]
