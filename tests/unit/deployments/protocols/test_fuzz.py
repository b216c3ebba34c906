"""Whatever bytes come, a codec returns a checked request or raises an error that a client is shown."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import RequestError, Unsupported
from configs.tensors import Datatype, Signature
from deployments.protocols import generate, plain, predict, v2_grpc, v2_json
from deployments.protocols.request import InferRequest, check_rows
from deployments.protocols.v2_proto import ModelInferRequest
from tests.unit.deployments.protocols.samples import body, signature, tensor

GRAPH = signature(
    **{datatype.lower(): {"datatype": datatype, "shape": [-1, 2]} for datatype in Datatype},
)
ONE = signature(image="BYTES[-1]")
FORM = 'multipart/form-data; boundary="cut"'


def values(datatype: Datatype) -> list:
    return {Datatype.BYTES: ["a", "b"], Datatype.BOOL: [True, False]}.get(datatype, [1, 0])


def raw(datatype: Datatype) -> bytes:
    return b"\1\0\0\0a" * 2 if datatype is Datatype.BYTES else np.ones(2, datatype.dtype).tobytes()


JSON = body(*[tensor(d.lower(), d, [1, 2], data=values(d)) for d in Datatype], id="7", outputs=[{"name": "fp32"}])
HEADER = body(*[tensor(d.lower(), d, [1, 2], parameters={"binary_data_size": len(raw(d))}) for d in Datatype])
BINARY = HEADER + b"".join(map(raw, Datatype))
GRPC = ModelInferRequest(
    inputs=[tensor(d.lower(), d.value, [1, 2]) for d in Datatype], raw_input_contents=map(raw, Datatype)
).SerializeToString()
TYPED = ModelInferRequest(
    inputs=[tensor("fp32", shape=[1, 2], contents={"fp32_contents": [1, 2]})], outputs=[{"name": "fp32"}]
).SerializeToString()
PLAIN = json.dumps({d.lower(): [values(d)] for d in Datatype}).encode()
GENERATE = json.dumps({d.lower(): values(d) for d in Datatype} | {"id": "7", "parameters": {"seed": 1}}).encode()
INSTANCES = json.dumps({"instances": [{d.lower(): values(d) for d in Datatype}], "signature_name": "s"}).encode()
COLUMNS = json.dumps({"inputs": {d.lower(): [values(d)] for d in Datatype}}).encode()
MULTIPART = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--cut--\r\n'

SEEDS = {"json": JSON, "binary": BINARY, "grpc": GRPC, "typed": TYPED, "plain": PLAIN, "form": MULTIPART}
SEEDS |= {"generate": GENERATE, "instances": INSTANCES, "columns": COLUMNS}


def decode(door: str, data: bytes) -> tuple[InferRequest, Signature]:
    if door == "json":
        return v2_json.decode_infer(data, None, GRAPH, "m", ""), GRAPH
    if door == "binary":
        return v2_json.decode_infer(data, str(len(HEADER)), GRAPH, "m", ""), GRAPH
    if door in ("grpc", "typed"):
        return v2_grpc.decode_infer(v2_grpc.parse_infer(data), GRAPH), GRAPH
    if door == "plain":
        return plain.decode(data, "application/json", GRAPH), GRAPH
    if door == "generate":
        return generate.decode(data, GRAPH, "m", ""), GRAPH
    if door in ("instances", "columns"):
        return predict.decode(data, GRAPH, "m", ""), GRAPH
    return plain.decode(data, FORM, ONE), ONE


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A valid body with pieces replaced, cut out and repeated."""
    door = draw(st.sampled_from(sorted(SEEDS)))
    data = SEEDS[door]
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        pieces = st.sampled_from([b"", data[start:end] * 2, b"-1", b"1e999", b"null", b"[", b'"', b"9" * 25, b"true"])
        data = data[:start] + draw(pieces | st.binary(max_size=4)) + data[end:]
    return door, data


@pytest.mark.parametrize("door", sorted(SEEDS.keys() - {"typed"}))
def test_the_unchanged_bodies_are_read(door: str) -> None:
    request, graph = decode(door, SEEDS[door])
    assert check_rows(request.rows, graph.inputs) == 1


@given(st.sampled_from(sorted(SEEDS)), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes(door: str, data: bytes) -> None:
    check(door, data)


@given(mutated())
@settings(max_examples=600, deadline=None)
def test_mutated_bodies(case: tuple[str, bytes]) -> None:
    check(*case)


@given(st.text(max_size=20) | st.integers().map(str), st.binary(max_size=30))
@settings(max_examples=300, deadline=None)
def test_random_header_lengths(header: str, data: bytes) -> None:
    with contextlib.suppress(RequestError):
        v2_json.decode_infer(JSON + data, header, GRAPH, "m", "")


@given(st.text(max_size=40).map("multipart/form-data; boundary={}".format) | st.text(max_size=40), st.binary())
@settings(max_examples=300, deadline=None)
def test_random_content_types(content_type: str, data: bytes) -> None:
    with contextlib.suppress(RequestError):
        plain.decode(data, content_type, ONE)


def check(door: str, data: bytes) -> None:
    try:
        request, graph = decode(door, data)
    except (RequestError, Unsupported) as error:
        assert error.message  # noqa: PT017
        assert len(error.message) < 1500  # noqa: PT017
    else:
        assert check_rows(request.rows, graph.inputs) >= 1
