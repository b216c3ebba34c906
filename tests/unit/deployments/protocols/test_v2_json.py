import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from configs.errors import InvalidInput, Unsupported
from configs.tensors import Datatype, Signature
from deployments.protocols import v2_json
from deployments.protocols.request import InferRequest, RequestedOutput
from tests.unit.deployments.protocols.samples import (
    FLOATS,
    asking,
    body,
    random_tensor,
    same,
    signature,
    signature_of_array,
    tensor,
    tensors,
)


def decode(data: bytes, graph: Signature = FLOATS, header: str | None = None) -> InferRequest:
    return v2_json.decode_infer(data, header, graph, "m", "2")


def refused(data: bytes, message: str, graph: Signature = FLOATS, header: str | None = None) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        decode(data, graph, header)


def values(array: np.ndarray) -> list:
    return [item.decode() for item in array.ravel()] if array.dtype == object else array.ravel().tolist()


def read_back(data: Any, datatype: Datatype, shape: list[int]) -> np.ndarray:
    if datatype is Datatype.BYTES:
        return np.array([item.encode() for item in data], dtype=object).reshape(shape)
    return (
        np.array(data, dtype=np.float32 if datatype in ("FP16", "BF16") else datatype.dtype)
        .astype(datatype.dtype)
        .reshape(shape)
    )


@given(tensors())
@settings(max_examples=150, deadline=None)
def test_json_round_trip(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    graph = signature_of_array(datatype, array)
    nested = np.array(values(array), dtype=object).reshape(array.shape).tolist()
    for data in (values(array), nested):
        request = decode(body(tensor("x", datatype.value, array.shape, data=data)), graph)
        assert same(request.rows["x"], array)
    answer, length = v2_json.encode_infer(request, {"x": array}, "m", "2")
    assert length is None
    (output,) = json.loads(answer)["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("x", datatype, list(array.shape))
    assert same(read_back(output["data"], datatype, output["shape"]), array)


@given(tensors())
@settings(max_examples=150, deadline=None)
def test_binary_round_trip(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    graph = signature_of_array(datatype, array)
    request = asking(binary_output=True, rows={"x": array})
    parts, length = v2_json.encode_infer(request, {"x": array}, "m", "2")
    header, raw = parts[0], bytes(parts[1])
    (output,) = json.loads(header)["outputs"]
    assert len(header) == length
    assert output["parameters"] == {"binary_data_size": len(raw)}
    sent = body(output)
    assert same(decode(memoryview(sent + raw), graph, str(len(sent))).rows["x"], array)


def test_json_and_binary_float32_agree_to_the_bit() -> None:
    array = random_tensor(Datatype.FP32, (1, 100_000), 0)
    answer, _ = v2_json.encode_infer(asking(), {"y": array}, "m", "")
    assert same(np.array(json.loads(answer)["outputs"][0]["data"], np.float32).reshape(array.shape), array)
    sent = body(tensor(shape=array.shape, data=json.loads(answer)["outputs"][0]["data"]))
    assert same(decode(sent, signature(x="FP32[-1, -1]")).rows["x"], array)


def test_binary_inputs_are_views_of_the_body() -> None:
    header = body(tensor(parameters={"binary_data_size": 8}))
    whole = header + np.array([1, 2], np.float32).tobytes()
    array = decode(whole, header=str(len(header))).rows["x"]
    assert np.shares_memory(array, np.frombuffer(whole, np.uint8))


def test_reads_the_whole_request() -> None:
    sent = body(
        tensor(data=[1, 2]),
        id="7",
        parameters={"priority": 1, "note": "a", "share": 0.5, "binary_data_output": True},
        outputs=[{"name": "x"}, {"name": "y", "parameters": {"binary_data": False}}],
    )
    graph = Signature(inputs=FLOATS.inputs, outputs={**FLOATS.outputs, "y": FLOATS.outputs["x"]})
    request = decode(sent, graph)
    assert (request.model, request.version, request.id, request.single) == ("m", "2", "7", False)
    assert request.parameters == {"priority": 1, "note": "a", "share": 0.5, "binary_data_output": True}
    assert request.outputs == [RequestedOutput("x", True), RequestedOutput("y", False)]


def test_answers_with_the_requested_outputs_in_their_order_and_form() -> None:
    request = asking(id="7", outputs=[RequestedOutput("b", True), RequestedOutput("a", False)])
    outputs = {"a": np.array([1.5]), "b": np.array([258], np.int16), "c": np.array([0])}
    (header, raw), length = v2_json.encode_infer(request, outputs, "m", "3")
    assert bytes(raw) == b"\2\1"
    assert length == len(header)
    assert json.loads(header) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "b", "datatype": "INT16", "shape": [1], "parameters": {"binary_data_size": 2}},
            {"name": "a", "datatype": "FP64", "shape": [1], "data": [1.5]},
        ],
    }


@pytest.mark.parametrize("binary", [False, True])
def test_an_output_can_be_classified(binary: bool) -> None:
    wanted = {"name": "x", "parameters": {"classification": 1, "binary_data": binary}}
    request = decode(body(tensor(data=[1, 2]), outputs=[wanted]))
    assert request.classes == {"x": 1}
    answer, length = v2_json.encode_infer(request, request.rows, "m", "2")
    header, *raw = answer if length else [answer]
    (output,) = json.loads(header)["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 1])
    assert raw == ([b"\x0a\0\0\x002.000000:1"] if binary else [])
    assert binary or output["data"] == ["2.000000:1"]


def test_no_classes_leave_the_tensor() -> None:
    sent = body(tensor(data=[1, 2]), outputs=[{"name": "x", "parameters": {"classification": 0}}])
    assert decode(sent).classes == {}


def test_nan_and_infinity_are_null_in_json() -> None:
    answer, _ = v2_json.encode_infer(asking(), {"y": np.array([np.nan, np.inf, 1], np.float32)}, "m", "")
    assert json.loads(answer)["outputs"][0]["data"] == [None, None, 1.0]


def test_bytes_that_are_not_text_need_binary_output() -> None:
    with pytest.raises(InvalidInput, match=r"output 'y' holds bytes that are not UTF-8.*ask for binary output"):
        v2_json.encode_infer(asking(), {"y": np.array([b"\xff"], object)}, "m", "")


def test_a_long_list_with_booleans_among_zeros_is_refused() -> None:
    graph = signature(x="FP32[-1, 1000]")
    data: list = [0.0] * 1000
    assert decode(body(tensor(shape=[1, 1000], data=data), note=True), graph).row_count == 1
    data[700] = False
    refused(body(tensor(shape=[1, 1000], data=data)), "element 700 is false; FP32 takes numbers", graph)


@pytest.mark.parametrize(
    ("datatype", "element", "message"),
    [
        ("UINT8", 256, "is 256; UINT8 takes whole numbers from 0 to 255"),
        ("UINT64", -1, f"is -1; UINT64 takes whole numbers from 0 to {2**64 - 1}"),
        ("UINT64", 2**64, "is 1.8446744073709552e+19; UINT64 takes whole numbers"),
        ("INT8", -129, "is -129; INT8 takes whole numbers from -128 to 127"),
        ("INT64", 2**63, f"is {2**63}; INT64 takes whole numbers"),
        ("INT32", 1.0, "is 1.0; INT32 takes whole numbers"),
        ("INT32", "1", "is the string '1'; INT32 takes whole numbers"),
        ("INT32", True, "is true; INT32 takes whole numbers"),
        ("INT32", None, "is null; INT32 takes whole numbers"),
        ("FP32", "1.5", "is the string '1.5'; FP32 takes numbers within its range"),
        ("FP32", None, "is null; FP32 takes numbers"),
        ("FP32", False, "is false; FP32 takes numbers"),
        ("FP32", {}, "is an object; FP32 takes numbers"),
        ("FP32", [1], "is a list; FP32 takes numbers"),
        ("FP32", 1e39, "is 1e+39; FP32 takes numbers within its range"),
        ("FP16", 70000, "is 70000; FP16 takes numbers within its range"),
        ("BF16", 1e39, "is 1e+39; BF16 takes numbers within its range"),
        ("BOOL", 2, "is 2; BOOL takes true, false, 1 and 0"),
        ("BOOL", 1.0, "is 1.0; BOOL takes true, false, 1 and 0"),
        ("BYTES", 1, "BYTES takes strings, not 1"),
        ("BYTES", {"b64": ""}, "BYTES takes strings, not an object"),
    ],
)
def test_elements_of_a_wrong_type_or_out_of_range(datatype: str, element: Any, message: str) -> None:
    good = "a" if datatype == "BYTES" else 0
    sent = body(tensor("x", datatype, [1, 2], data=[good, element]))
    prefix = "input 'x': " if datatype == "BYTES" else "input 'x': element 1 "
    refused(sent, prefix + message, signature(x=f"{datatype}[-1, 2]"))


def test_bool_takes_zero_and_one() -> None:
    sent = body(tensor("x", "BOOL", [1, 4], data=[True, 0, 1, False]))
    assert decode(sent, signature(x="BOOL[-1, 4]")).rows["x"].tolist() == [[True, False, True, False]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "y"}, "unknown input 'y'; the graph takes x (FP32[-1, 2])"),
        ({"name": ["x"]}, "unknown input ['x']"),
        ({"datatype": "FP64"}, "input 'x' has datatype 'FP64', expected FP32"),
        ({"datatype": None}, "input 'x' has datatype None, expected FP32"),
        ({"shape": 2}, "input 'x': shape is 2, expected a list like [-1, 2]"),
        ({"shape": [True, 2]}, "input 'x': shape [True, 2] holds True, expected sizes from 0 up"),
        ({"shape": [1.0, 2]}, "holds 1.0, expected sizes"),
        ({"shape": [-1, 2]}, "input 'x': shape [-1, 2] holds -1, expected sizes from 0 up"),
        ({"shape": [2]}, "input 'x' has shape [2], expected [-1, 2]"),
        ({"shape": []}, "input 'x' has shape [], expected [-1, 2]"),
        ({"shape": [1, 3]}, "input 'x' has shape [1, 3], expected [-1, 2]"),
        ({"shape": [0, 2], "data": []}, "input 'x' has shape [0, 2]: zero rows; send at least one row"),
        ({"shape": [2**62, 2]}, f"input 'x': shape [{2**62}, 2] needs {2**63} elements, data has 2"),
        ({"data": [1]}, "input 'x': shape [1, 2] needs 2 elements, data has 1"),
        ({"data": 1}, "input 'x': data must be a list, not 1"),
        ({"data": None}, "input 'x': data must be a list, not null"),
        ({"data": [[1, 2], [3, 4]]}, "input 'x': data has 2 rows, its shape is [1, 2]"),
        ({"data": [[1]]}, "dimension 1 needs lists of 2 elements, found a list of 1"),
        ({"shape": [2, 2], "data": [[1, 2], 3]}, "dimension 1 needs lists of 2 elements, found 3"),
        ({"parameters": 1}, "`parameters` must be an object, got 1"),
        ({"parameters": {"a": None}}, "parameter 'a' is None, expected a string, a number or a boolean"),
        ({"parameters": {"binary_data_size": 8}}, "input 'x' has both `data` and `binary_data_size`"),
    ],
)
def test_malformed_tensors(change: dict[str, Any], message: str) -> None:
    refused(body({**tensor(data=[1, 2]), **change}), message)


def test_no_data_is_no_number_of_rows() -> None:
    message = f"input 'x' has shape [{2**60}, 0]: each dimension needs at least 1 element"
    graph = signature(x="FP32[-1, -1]")
    refused(body(tensor(shape=[2**60, 0], data=[])), message, graph)
    header = body(tensor(shape=[2**60, 0], parameters={"binary_data_size": 0}))
    refused(header, message, graph, str(len(header)))


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "the body is empty; send a JSON object with `inputs`"),
        (b"inputs", "the body is not JSON: "),
        (b"[" * 5000, "the body is not JSON: "),
        (b"[]", "the body is JSON, but not an object with `inputs`"),
        (b"{}", "the body has no `inputs`; it must be a list of tensors"),
        (b'{"inputs": {}}', "`inputs` must be a list of tensors, got {}"),
        (b'{"inputs": [1]}', "`inputs` must be a list of objects, found 1 in it"),
        (body(), "missing input 'x'; the graph takes x (FP32[-1, 2])"),
        (body(tensor()), "input 'x' has neither `data` nor the parameter `binary_data_size`"),
        (body(tensor(data=[1, 2]), tensor(data=[1, 2])), "input 'x' is given twice"),
        (body(tensor(data=[1, 2]), id=7), "id is 7, expected a string"),
        (body(tensor(data=[1, 2]), outputs=1), "`outputs` must be a list of tensors, got 1"),
        (body(tensor(data=[1, 2]), outputs=[{}]), "a requested output has the name None, expected a string"),
        (body(tensor(data=[1, 2]), outputs=[{"name": "z"}]), "unknown output 'z'; the graph gives x (FP32[-1, 2])"),
        (body(tensor(data=[1, 2]), outputs=[{"name": "x"}] * 2), "an output is requested twice: ['x', 'x']"),
        (
            body(tensor(data=[1, 2]), parameters={"binary_data_output": 1}),
            "`binary_data_output` is 1, expected true or",
        ),
    ],
)
def test_malformed_requests(sent: bytes, message: str) -> None:
    refused(sent, message)


@pytest.mark.parametrize(
    "sent",
    [
        body(tensor(data=[1, 2]), outputs=[{"name": "x", "parameters": {"shared_memory_region": "r"}}]),
        body(tensor(parameters={"shared_memory_region": "r"})),
    ],
)
def test_parts_of_the_protocol_that_are_not_there(sent: bytes) -> None:
    with pytest.raises(Unsupported, match="not supported"):
        decode(sent)


@pytest.mark.parametrize("header", ["", "x", "-1", "+1", "1_0", "٣", "1e2", "9" * 30])
def test_header_length_must_be_a_number(header: str) -> None:
    refused(
        body(tensor(data=[1, 2])), f"{v2_json.HEADER_LENGTH} is {header!r}, expected a number of bytes", header=header
    )


@pytest.mark.parametrize(
    ("size", "extra", "header", "message"),
    [
        (8, b"\0" * 8, 1000, "Inference-Header-Content-Length is 1000, but the body has 111 bytes"),
        (8, b"\0" * 8, 5, "the body is not JSON: "),
        (8, b"\0" * 7, None, "binary_data_size is 8, but 7 bytes are left after the JSON"),
        (8, b"\0" * 9, None, "1 bytes after the JSON belong to no input; check each binary_data_size"),
        (4, b"\0" * 4, None, "input 'x': FP32 of shape [1, 2] needs 8 bytes, got 4"),
        (-8, b"\0" * 8, None, "input 'x': binary_data_size is -8, expected a number of bytes"),
        ("8", b"\0" * 8, None, "input 'x': binary_data_size is '8', expected a number of bytes"),
        (True, b"\0" * 8, None, "input 'x': binary_data_size is True, expected a number of bytes"),
    ],
)
def test_binary_sizes_that_do_not_fit(size: Any, extra: bytes, header: int | None, message: str) -> None:
    text = body(tensor(parameters={"binary_data_size": size}))
    refused(text + extra, message, header=str(len(text) if header is None else header))


def test_binary_without_the_header() -> None:
    sent = body(tensor(parameters={"binary_data_size": 8}))
    refused(sent, "the header Inference-Header-Content-Length must hold the length of the JSON")


@pytest.mark.parametrize(
    ("spec", "raw", "expected"),
    [
        ("UINT8[-1, 2]", b"\1\2\3\4", [[1, 2], [3, 4]]),
        ("UINT8[-1, -1, 2]", b"\1\2\3\4", [[[1, 2], [3, 4]]]),
        ("BYTES[-1, 1]", b"\xff\0", [[b"\xff\0"]]),
    ],
)
def test_a_raw_body_is_one_tensor(spec: str, raw: bytes, expected: list) -> None:
    request = decode(raw, signature(x=spec), "0")
    assert request.rows["x"].tolist() == expected
    assert request.binary_output


@pytest.mark.parametrize(
    ("graph", "raw", "message"),
    [
        (FLOATS, b"", "the body is empty; send the bytes of one tensor"),
        (FLOATS, b"\0" * 9, "input 'x': FP32 of shape [1, 2] needs 8 bytes, got 9"),
        (FLOATS, b"\0" * 3, "input 'x': FP32 of shape [1, 2] needs 8 bytes, got 3"),
        (signature(x="FP32[-1, -1, -1]"), b"\0" * 8, "the shape of input 'x' (FP32[-1, -1, -1]) does not follow from"),
        (signature(x="BYTES[-1, 2]"), b"\0" * 8, "input 'x' has shape [1, 1], expected [-1, 2]"),
        (signature(a="FP32[-1]", b="FP32[-1]"), b"\0" * 8, "the body is one tensor, but the graph takes 2: a, b"),
    ],
)
def test_raw_bodies_that_do_not_fit(graph: Signature, raw: bytes, message: str) -> None:
    refused(raw, message, graph, "0")


def test_metadata_and_errors() -> None:
    assert v2_json.server_metadata("millrace", "1", v2_json.EXTENSIONS) == {
        "name": "millrace",
        "version": "1",
        "extensions": list(v2_json.EXTENSIONS),
    }
    x = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}
    assert v2_json.model_metadata("m", ["1", "2"], FLOATS, "millrace_graph") == {
        "name": "m",
        "versions": ["1", "2"],
        "platform": "millrace_graph",
        "inputs": [x],
        "outputs": [x],
    }
    assert v2_json.error_body('a "b"') == b'{"error":"a \\"b\\""}'
