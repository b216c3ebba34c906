import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from configs.errors import InvalidInput, Unsupported
from configs.tensors import Datatype, Signature
from deployments.protocols import v2_grpc
from deployments.protocols.model_config import model_config
from deployments.protocols.request import InferRequest, RequestedOutput
from deployments.protocols.v2_proto import InferTensorContents, ModelInferRequest
from deployments.statistics import Statistics
from graphs.run import NodeTiming
from tests.unit.deployments.protocols.samples import (
    FLOATS,
    asking,
    same,
    signature,
    signature_of_array,
    tensor,
    tensors,
)

CONTENTS = {"BOOL": "bool_contents", "INT64": "int64_contents", "UINT64": "uint64_contents", "BYTES": "bytes_contents"}
CONTENTS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
CONTENTS |= dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
CONTENTS |= {"FP32": "fp32_contents", "FP64": "fp64_contents"}


def decode(message: Any, graph: Signature = FLOATS) -> InferRequest:
    return v2_grpc.decode_infer(v2_grpc.parse_infer(message.SerializeToString()), graph)


def refused(message: Any, text: str, graph: Signature = FLOATS) -> None:
    with pytest.raises(InvalidInput, match=re.escape(text)):
        decode(message, graph)


def typed(field: str, values: list) -> Any:
    return InferTensorContents(**{field: values})


@given(tensors())
@settings(max_examples=150, deadline=None)
def test_raw_round_trip(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    response = v2_grpc.encode_infer(asking(id="7"), {"x": array}, "m", "2")
    assert (response.model_name, response.model_version, response.id) == ("m", "2", "7")
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("x", datatype, list(array.shape))
    message = ModelInferRequest(raw_input_contents=response.raw_output_contents)
    message.inputs.add(name="x", datatype=output.datatype, shape=output.shape)
    assert same(decode(message, signature_of_array(datatype, array)).rows["x"], array)


@given(tensors([Datatype(name) for name in CONTENTS]))
@settings(max_examples=150, deadline=None)
def test_typed_contents(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    message = ModelInferRequest()
    contents = typed(CONTENTS[datatype], array.ravel().tolist())
    message.inputs.add(name="x", datatype=datatype.value, shape=array.shape, contents=contents)
    assert same(decode(message, signature_of_array(datatype, array)).rows["x"], array)


def test_reads_the_whole_request() -> None:
    message = ModelInferRequest(model_name="m", model_version="2", id="7", raw_input_contents=[b"\0" * 8])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.outputs.add(name="x")
    for name, value in (("bool", True), ("int64", -5), ("string", "a"), ("double", 0.5), ("uint64", 2**64 - 1)):
        setattr(message.parameters[name], f"{name}_param", value)
    request = decode(message)
    assert (request.model, request.version, request.id) == ("m", "2", "7")
    assert request.outputs == [RequestedOutput("x", True)]
    assert request.parameters == {"bool": True, "int64": -5, "string": "a", "double": 0.5, "uint64": 2**64 - 1}


def test_writes_requested_outputs() -> None:
    request = asking(outputs=[RequestedOutput("b", True), RequestedOutput("a", True)])
    outputs = {"a": np.array([1], np.int8), "b": np.array([2], np.int8)}
    response = v2_grpc.encode_infer(request, outputs, "m", "")
    assert [output.name for output in response.outputs] == ["b", "a"]
    assert list(response.raw_output_contents) == [b"\2", b"\1"]


def test_bytes_that_are_no_message() -> None:
    with pytest.raises(InvalidInput, match="the message is not a ModelInferRequest"):
        v2_grpc.parse_infer(b"\xff\xff")


ONE = tensor(contents=typed("fp32_contents", [1, 2]))


@pytest.mark.parametrize(
    ("inputs", "raw", "message"),
    [
        ([], [], "missing input 'x'; the graph takes x (FP32[-1, 2])"),
        ([tensor("y")], [], "unknown input 'y'; the graph takes x (FP32[-1, 2])"),
        ([tensor(datatype="FP64")], [], "input 'x' has datatype 'FP64', expected FP32"),
        ([tensor(shape=[2])], [], "input 'x' has shape [2], expected [-1, 2]"),
        ([tensor(shape=[])], [], "input 'x' has shape [], expected [-1, 2]"),
        ([tensor(shape=[-1, 2])], [], "input 'x': shape [-1, 2] holds -1, expected sizes from 0 up"),
        ([tensor(shape=[0, 2])], [], "input 'x' has shape [0, 2]: zero rows; send at least one row"),
        ([tensor(shape=[2**62, 2])], [b""], f"input 'x': FP32 of shape [{2**62}, 2] needs {2**65} bytes, got 0"),
        ([tensor(shape=[2**62, 2])], [], f"input 'x': shape [{2**62}, 2] needs {2**63} elements, fp32_contents has 0"),
        ([ONE, ONE], [], "input 'x' is given twice"),
        ([tensor()], [b"\0" * 7], "input 'x': FP32 of shape [1, 2] needs 8 bytes, got 7"),
        ([tensor()], [b"\0" * 8] * 2, "raw_input_contents has 2 entries for 1 inputs; give one an input, in order"),
        ([ONE], [b"\0" * 8], "input 'x' has contents beside raw_input_contents; send one of them"),
        (
            [tensor(contents=typed("fp64_contents", [1, 2]))],
            [],
            "'x': FP32 belongs into fp32_contents, but fp64_contents is",
        ),
        ([tensor(contents=typed("fp32_contents", [1]))], [], "shape [1, 2] needs 2 elements, fp32_contents has 1"),
    ],
)
def test_malformed_inputs(inputs: list[dict], raw: list[bytes], message: str) -> None:
    refused(ModelInferRequest(inputs=inputs, raw_input_contents=raw), message)


@pytest.mark.parametrize(
    ("datatype", "element", "message"),
    [
        ("INT8", 128, "element 1 is 128; INT8 takes -128 to 127"),
        ("INT16", -(2**15) - 1, "element 1 is -32769; INT16 takes -32768 to 32767"),
        ("UINT8", 256, "element 1 is 256; UINT8 takes 0 to 255"),
    ],
)
def test_narrow_integers_do_not_wrap_around(datatype: str, element: int, message: str) -> None:
    contents = typed(CONTENTS[datatype], [0, element])
    request = ModelInferRequest(inputs=[tensor("x", datatype, [1, 2], contents=contents)])
    refused(request, message, signature(x=f"{datatype}[-1, 2]"))


def test_half_floats_are_raw_only() -> None:
    request = ModelInferRequest(inputs=[tensor("x", "FP16", contents=typed("fp32_contents", [1, 2]))])
    refused(request, "input 'x': FP16 has no typed contents; send it in raw_input_contents", signature(x="FP16[-1, 2]"))


def test_no_data_is_no_number_of_rows() -> None:
    for raw in ([b""], []):
        request = ModelInferRequest(inputs=[tensor(shape=[2**60, 0])], raw_input_contents=raw)
        refused(request, f"input 'x' has shape [{2**60}, 0]: each dimension needs", signature(x="FP32[-1, -1]"))


def test_unknown_outputs_and_empty_parameters() -> None:
    refused(ModelInferRequest(inputs=[ONE], outputs=[{"name": "z"}]), "unknown output 'z'; the graph gives x")
    request = ModelInferRequest(inputs=[ONE])
    request.parameters["a"].SetInParent()
    refused(request, "parameter 'a' has no value")


@pytest.mark.parametrize("place", ["inputs", "outputs"])
def test_shared_memory_is_not_there(place: str) -> None:
    request = ModelInferRequest(inputs=[ONE], outputs=[{"name": "x"}])
    getattr(request, place)[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unsupported, match="not supported"):
        decode(request)


def test_classes_in_place_of_an_output() -> None:
    message = ModelInferRequest(inputs=[ONE], outputs=[{"name": "x"}])
    message.outputs[0].parameters["classification"].int64_param = 1
    request = decode(message)
    assert request.classes == {"x": 1}
    response = v2_grpc.encode_infer(request, {"x": np.array([[1, 3]], np.float32)}, "m", "")
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [1, 1])
    assert response.raw_output_contents[0].endswith(b"3.000000:1")
    message.outputs[0].parameters["classification"].string_param = "1"
    refused(message, "classification is '1', expected the number of classes")


def test_config_and_statistics_are_written_from_their_documents() -> None:
    config = v2_grpc.graph_config(model_config("m", FLOATS, "millrace_graph", 8, decoupled=True)).config
    assert (config.name, config.max_batch_size, config.model_transaction_policy.decoupled) == ("m", 8, True)
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [("x", 11, [2])]
    statistics = Statistics(["m"])
    statistics.answered("m", 1.5, 3, [NodeTiming("n", 0.0, 0.0, 0.5, 3)])
    [model] = v2_grpc.graph_statistics(statistics.document("1")).model_stats
    assert (model.name, model.version, model.inference_count, model.execution_count) == ("m", "1", 3, 1)
    assert (model.inference_stats.success.count, model.inference_stats.success.ns) == (1, 1_500_000_000)
    assert [(batch.batch_size, batch.compute_infer.ns) for batch in model.batch_stats] == [(3, 500_000_000)]


def test_metadata() -> None:
    server = v2_grpc.server_metadata("millrace", "1", ["a"])
    assert (server.name, server.version, list(server.extensions)) == ("millrace", "1", ["a"])
    model = v2_grpc.model_metadata("m", ["1", "2"], FLOATS, "millrace_graph")
    assert (model.name, list(model.versions), model.platform) == ("m", ["1", "2"], "millrace_graph")
    for tensors_ in (model.inputs, model.outputs):
        assert [(t.name, t.datatype, list(t.shape)) for t in tensors_] == [("x", "FP32", [-1, 2])]
