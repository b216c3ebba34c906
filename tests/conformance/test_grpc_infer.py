"""Inference over gRPC: raw and typed contents, parameters, errors."""

import struct
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from messages import message
from rest import DIFFERENCE, SUM, A, B
from rpc import FIELDS, SIMPLE, Rpc, request, simple, values
from wire import EACH, SAMPLES, pack, same, unpack


@pytest.mark.model("simple")
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_all_outputs(rpc: Rpc, raw: bool) -> None:
    """OIP gRPC, "Inference": without `outputs` all are returned; raw and typed contents alike."""
    answer = rpc.call("ModelInfer", simple(raw=raw))
    assert answer.model_name == "simple"
    assert sorted(output.name for output in answer.outputs) == ["OUTPUT0", "OUTPUT1"]
    assert {(output.datatype, tuple(output.shape)) for output in answer.outputs} == {("INT32", (1, 16))}
    assert values(answer, "OUTPUT0") == SUM
    assert values(answer, "OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
@pytest.mark.parametrize("outputs", [["OUTPUT1"], ["OUTPUT1", "OUTPUT0"]])
def test_requested_outputs(rpc: Rpc, outputs: list[str]) -> None:
    """OIP gRPC, "Inference", InferRequestedOutputTensor: only these, and bytes in the order of `outputs`."""
    answer = rpc.call("ModelInfer", simple(outputs=outputs))
    assert sorted(output.name for output in answer.outputs) == sorted(outputs)
    assert values(answer, "OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
def test_id_comes_back(rpc: Rpc) -> None:
    """OIP gRPC, "Inference": "Optional identifier … If specified will be returned in the response"."""
    assert rpc.call("ModelInfer", simple(id="a b/ü")).id == "a b/ü"


@pytest.mark.model("simple")
def test_a_version_by_name(rpc: Rpc) -> None:
    """OIP gRPC, "Inference": `model_version`; if not given "the server will choose"."""
    versions = rpc.call("ModelMetadata", message("ModelMetadataRequest")(name="simple")).versions
    for version in versions:
        answer = rpc.call("ModelInfer", simple(model_version=version))
        assert answer.model_version == version


@pytest.mark.model("simple")
def test_several_rows(rpc: Rpc) -> None:
    """OIP gRPC, "Inference": a batch is the first dimension."""
    inputs = (("INPUT0", "INT32", [2, 16], A * 2), ("INPUT1", "INT32", [2, 16], [*B, *A]))
    answer = rpc.call("ModelInfer", request("simple", *inputs))
    assert list(answer.outputs[0].shape) == [2, 16]
    assert values(answer, "OUTPUT1") == [*DIFFERENCE, *[0] * 16]


@pytest.mark.parametrize("datatype", EACH)
def test_each_datatype_raw(rpc: Rpc, datatype: str) -> None:
    """OIP gRPC, "Tensor Data": raw_input_contents, "row-major order … little-endian", to the bit."""
    sent = request(f"identity_{datatype.lower()}", ("INPUT0", datatype, [2, 2], SAMPLES[datatype]))
    answer = rpc.call("ModelInfer", sent)
    [output] = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("OUTPUT0", datatype, [2, 2])
    if answer.raw_output_contents:
        assert answer.raw_output_contents[0] == sent.raw_input_contents[0]
    assert values(answer, "OUTPUT0") == unpack(datatype, sent.raw_input_contents[0])


@pytest.mark.parametrize("datatype", [item for item in EACH if item.id in FIELDS])
def test_each_datatype_typed(rpc: Rpc, datatype: str) -> None:
    """OIP gRPC, "Tensor Data", InferTensorContents: the field of each datatype."""
    sent = request(f"identity_{datatype.lower()}", ("INPUT0", datatype, [2, 2], SAMPLES[datatype]), raw=False)
    assert same(datatype, values(rpc.call("ModelInfer", sent), "OUTPUT0"), SAMPLES[datatype])


@pytest.mark.model("identity_bytes")
def test_bytes_that_are_no_text(rpc: Rpc) -> None:
    """OIP gRPC, "Tensor Data": BYTES are bytes."""
    sent = [b"\0", b"\xff\xfe", b"", bytes(range(256))]
    for raw in (True, False):
        asked = request("identity_bytes", ("INPUT0", "BYTES", [2, 2], sent), raw=raw)
        assert values(rpc.call("ModelInfer", asked), "OUTPUT0") == sent


@pytest.mark.model("simple_string")
def test_strings(rpc: Rpc) -> None:
    """OIP gRPC, "Tensor Data": BYTES elements."""
    inputs = [(name, "BYTES", shape, [str(value).encode() for value in data]) for name, _, shape, data in SIMPLE]
    answer = rpc.call("ModelInfer", request("simple_string", *inputs))
    assert [int(text) for text in values(answer, "OUTPUT0")] == SUM
    assert [int(text) for text in values(answer, "OUTPUT1")] == DIFFERENCE


@pytest.mark.model("identity_fp32")
def test_large_tensor(rpc: Rpc) -> None:
    """OIP gRPC, "Tensor Data": half a megabyte there and back."""
    asked = request("identity_fp32")
    asked.inputs.add(name="INPUT0", datatype="FP32", shape=[8, 16384])
    asked.raw_input_contents.append(struct.pack("<f", 0.1) * 131_072)
    answer = rpc.call("ModelInfer", asked)
    assert answer.raw_output_contents[0] == asked.raw_input_contents[0]


@pytest.mark.model("simple")
@pytest.mark.needs("parameters")
def test_parameters_of_every_kind(rpc: Rpc) -> None:
    """OIP gRPC, "Parameters": a bool, an int64 or a string; Triton: also a double or a uint64."""
    asked = simple()
    asked.parameters["my_flag"].bool_param = True
    asked.parameters["my_number"].int64_param = -7
    asked.parameters["my_text"].string_param = "a"
    asked.parameters["my_float"].double_param = 0.5
    asked.parameters["my_big"].uint64_param = 2**64 - 1
    assert values(rpc.call("ModelInfer", asked), "OUTPUT0") == SUM


@pytest.mark.model("simple")
@pytest.mark.needs("schedule")
def test_priority_and_timeout_are_accepted(rpc: Rpc) -> None:
    """Triton, "Schedule Policy Extension", "GRPC": `priority` as uint64, `timeout` as int64 microseconds."""
    asked = simple()
    asked.parameters["priority"].uint64_param = 1
    asked.parameters["timeout"].int64_param = 10_000_000
    assert values(rpc.call("ModelInfer", asked), "OUTPUT0") == SUM


@pytest.mark.model("simple")
@pytest.mark.needs("classification")
def test_classification(rpc: Rpc) -> None:
    """Triton, "Classification Extension", "GRPC": BYTES [batch, count] of "<value>:<index>"."""
    asked = simple(outputs=["OUTPUT0"])
    asked.outputs[0].parameters["classification"].int64_param = 2
    answer = rpc.call("ModelInfer", asked)
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == ("BYTES", [1, 2])
    found = [text.decode().split(":") for text in values(answer, "OUTPUT0")]
    assert [(float(value), int(index)) for value, index, *_ in found] == [(16, 15), (15, 14)]


@pytest.mark.model("simple")
@pytest.mark.needs("compression")
@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages(rpc: Rpc, algorithm: grpc.Compression) -> None:
    """gRPC, "Compression": a request with a message encoding."""
    assert values(rpc.call("ModelInfer", simple(), compression=algorithm), "OUTPUT0") == SUM


def wrong(change: Callable[[Any], object], raw: bool = True) -> Any:
    """The request for `simple` with something wrong in it."""
    asked = simple(raw=raw)
    change(asked)
    return asked


def _same_input_twice(asked: Any) -> None:
    asked.inputs[1].CopyFrom(asked.inputs[0])


def _both_contents(asked: Any) -> None:
    asked.inputs[0].contents.int_contents.extend(A)


def _shape(*sizes: int) -> Callable[[Any], object]:
    def change(asked: Any) -> None:
        asked.inputs[0].shape[:] = sizes

    return change


def _set(name: str, value: object) -> Callable[[Any], object]:
    return lambda asked: setattr(asked.inputs[0], name, value)


def _raw(data: bytes) -> Callable[[Any], object]:
    def change(asked: Any) -> None:
        asked.raw_input_contents[0] = data

    return change


WRONG: dict[str, Callable[[Any], object]] = {
    "no inputs": lambda asked: (asked.ClearField("inputs"), asked.ClearField("raw_input_contents")),
    "an input is missing": lambda asked: (asked.inputs.pop(), asked.raw_input_contents.pop()),
    "an input twice": _same_input_twice,
    "an unknown input": _set("name", "INPUT7"),
    "another datatype": _set("datatype", "FP32"),
    "an unknown datatype": _set("datatype", "INT31"),
    "no datatype": _set("datatype", ""),
    "a shape that the model does not take": _shape(1, 15),
    "another number of dimensions": _shape(16),
    "a negative size": _shape(-1, 16),
    "a huge size": _shape(2**62, 16),
    "too few bytes": _raw(pack("INT32", A)[:-1]),
    "too many bytes": _raw(pack("INT32", A) + b"\0"),
    "no bytes": _raw(b""),
    "fewer raw contents than inputs": lambda asked: asked.raw_input_contents.pop(),
    "more raw contents than inputs": lambda asked: asked.raw_input_contents.append(b""),
    "raw and typed contents": _both_contents,
    "an unknown output": lambda asked: asked.outputs.add(name="OUTPUT7"),
}
WRONG_TYPED: dict[str, Callable[[Any], object]] = {
    "no contents": lambda asked: asked.inputs[0].ClearField("contents"),
    "too few values": lambda asked: asked.inputs[0].contents.int_contents.pop(),
    "too many values": lambda asked: asked.inputs[0].contents.int_contents.append(1),
    "another datatype's field": lambda asked: (
        asked.inputs[0].ClearField("contents"),
        asked.inputs[0].contents.fp32_contents.extend(A),
    ),
}


@pytest.mark.model("simple")
@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in WRONG.items()])
def test_wrong_requests(rpc: Rpc, change: Callable[[Any], object]) -> None:
    """OIP gRPC, "Inference": "Errors are indicated by the google.rpc.Status"; raw contents match `inputs`."""
    rpc.refused("ModelInfer", wrong(change))
    assert values(rpc.call("ModelInfer", simple()), "OUTPUT0") == SUM


@pytest.mark.model("simple")
@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in WRONG_TYPED.items()])
def test_wrong_typed_requests(rpc: Rpc, change: Callable[[Any], object]) -> None:
    """OIP gRPC, "Tensor Data", InferTensorContents: as many values as the shape says, in the datatype's field."""
    rpc.refused("ModelInfer", wrong(change, raw=False))


@pytest.mark.parametrize("model", ["no_such_model", ""])
def test_unknown_model(rpc: Rpc, model: str) -> None:
    """OIP gRPC, "Inference": a model that the server does not have."""
    rpc.refused("ModelInfer", request(model, *SIMPLE))


@pytest.mark.model("simple")
def test_unknown_version(rpc: Rpc) -> None:
    """OIP gRPC, "Inference": a version that the model does not have."""
    rpc.refused("ModelInfer", simple(model_version="987654"))


@pytest.mark.model("simple")
@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x0a\x7f", b"\x0a\x02\xff\xfe"], ids=["tag", "length", "text"])
def test_bytes_that_are_no_message(rpc: Rpc, content: bytes) -> None:
    """gRPC, "Status codes": a request that cannot be parsed is INTERNAL or INVALID_ARGUMENT."""
    with pytest.raises(grpc.RpcError) as caught:
        rpc.bytes_call("ModelInfer", content)
    codes = [grpc.StatusCode[name] for name in ("INTERNAL", "INVALID_ARGUMENT", "UNKNOWN")]
    assert caught.value.code() in codes
    assert values(rpc.call("ModelInfer", simple()), "OUTPUT0") == SUM


@pytest.mark.model("identity_bytes")
@pytest.mark.parametrize("data", [b"\x05\0\0\0abc", b"\xff\xff\xff\xffabc", b"\x01\0", b"\x01\0\0\0a\x01\0\0\0b"])
def test_broken_bytes_elements(rpc: Rpc, data: bytes) -> None:
    """OIP gRPC, "Tensor Data": a raw BYTES element is a four-byte length, then as many bytes."""
    asked = request("identity_bytes")
    asked.inputs.add(name="INPUT0", datatype="BYTES", shape=[1, 1])
    asked.raw_input_contents.append(data)
    rpc.refused("ModelInfer", asked)
