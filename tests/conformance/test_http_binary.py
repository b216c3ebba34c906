"""The binary tensor data extension over HTTP."""

import struct

import pytest
from rest import DIFFERENCE, HEADER, SUM, A, B, Rest, binary_tensor, flat, simple, take_apart, tensor
from wire import EACH, SAMPLES, pack

pytestmark = pytest.mark.needs("binary")


@pytest.mark.parametrize("datatype", EACH)
def test_each_datatype_to_the_bit(rest: Rest, datatype: str) -> None:
    """Triton, "Binary Tensor Request": "All tensor data types are representable"; little-endian, row-major."""
    declared, data = binary_tensor("INPUT0", datatype, [2, 2], SAMPLES[datatype])
    document = {"inputs": [declared], "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]}
    answer = take_apart(rest.infer_binary(f"identity_{datatype.lower()}", document, data))
    found = answer.output("OUTPUT0")
    assert (found["datatype"], found["shape"]) == (datatype, [2, 2])
    assert answer.tensors["OUTPUT0"] == data
    assert found["parameters"]["binary_data_size"] == len(data)
    assert answer.headers["content-type"].startswith("application/octet-stream")


@pytest.mark.model("identity_bytes")
def test_bytes_that_are_no_text(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": for BYTES "the actual bytes", whatever they are."""
    values = [b"\0", b"\xff\xfe\x00\x01", b"", bytes(range(256))]
    declared, data = binary_tensor("INPUT0", "BYTES", [2, 2], values)
    document = {"inputs": [declared], "parameters": {"binary_data_output": True}}
    assert take_apart(rest.infer_binary("identity_bytes", document, data)).values("OUTPUT0") == values


@pytest.mark.model("identity_fp32")
def test_nan_and_infinity(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": bytes carry what JSON has no words for."""
    data = struct.pack("<4f", float("nan"), float("inf"), float("-inf"), -0.0)
    declared = {"name": "INPUT0", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}}
    document = {"inputs": [declared], "parameters": {"binary_data_output": True}}
    assert take_apart(rest.infer_binary("identity_fp32", document, data)).tensors["OUTPUT0"] == data


@pytest.mark.model("simple")
def test_json_and_binary_inputs_together(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": the parameters are each tensor's own; outputs are JSON unless asked for."""
    declared, data = binary_tensor("INPUT1", "INT32", [1, 16], B)
    document = {"inputs": [tensor("INPUT0", "INT32", [1, 16], A), declared]}
    response = rest.infer_binary("simple", document, data)
    assert response.status_code == 200, response.text
    assert HEADER not in response.headers
    assert {item["name"]: flat(item["data"]) for item in response.json()["outputs"]} == {
        "OUTPUT0": SUM,
        "OUTPUT1": DIFFERENCE,
    }


@pytest.mark.model("simple")
def test_order_of_tensors_is_the_order_of_bytes(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": "in the same order as the order of the input or output tensors"."""
    second, first_bytes = binary_tensor("INPUT1", "INT32", [1, 16], B)
    first, second_bytes = binary_tensor("INPUT0", "INT32", [1, 16], A)
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in ("OUTPUT1", "OUTPUT0")]
    document = {"inputs": [second, first], "outputs": outputs}
    answer = take_apart(rest.infer_binary("simple", document, first_bytes, second_bytes))
    assert answer.values("OUTPUT0") == SUM
    assert answer.values("OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
def test_json_and_binary_outputs_together(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": `binary_data` of each requested output."""
    outputs = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}, {"name": "OUTPUT1"}]
    answer = take_apart(rest.infer("simple", simple(outputs=outputs)))
    assert answer.values("OUTPUT0") == SUM
    assert flat(answer.output("OUTPUT1")["data"]) == DIFFERENCE


@pytest.mark.model("simple")
def test_all_outputs_binary(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": `binary_data_output` of the request."""
    answer = take_apart(rest.infer("simple", simple(parameters={"binary_data_output": True})))
    assert answer.values("OUTPUT0") == SUM
    assert answer.values("OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
def test_an_output_overrides_the_request(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": "If binary_data is specified on an output it overrides this setting"."""
    outputs = [{"name": "OUTPUT0", "parameters": {"binary_data": False}}, {"name": "OUTPUT1"}]
    document = simple(outputs=outputs, parameters={"binary_data_output": True})
    answer = take_apart(rest.infer("simple", document))
    assert flat(answer.output("OUTPUT0")["data"]) == SUM
    assert answer.values("OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
def test_id_with_binary_tensors(rest: Rest) -> None:
    """OIP REST, "Inference Response JSON Object": `id` comes back in the JSON part too."""
    assert (
        take_apart(rest.infer("simple", simple(id="42", parameters={"binary_data_output": True}))).document["id"]
        == "42"
    )


@pytest.mark.model("identity_fp32")
def test_raw_request(rest: Rest) -> None:
    """Triton, "Raw Binary Request": header value 0, the body is the one input, a batch of one, outputs binary."""
    data = pack("FP32", [1.5, -2.0, 0.25])
    headers = {HEADER: "0", "content-type": "application/octet-stream"}
    answer = take_apart(rest.post("/v2/models/identity_fp32/infer", data, headers))
    assert answer.output("OUTPUT0")["shape"] == [1, 3]
    assert answer.tensors["OUTPUT0"] == data


@pytest.mark.model("identity_fp32")
def test_large_tensor(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": half a megabyte there and back."""
    data = struct.pack("<f", 0.1) * 131_072
    declared = {"name": "INPUT0", "datatype": "FP32", "shape": [8, 16384], "parameters": {"binary_data_size": 524_288}}
    document = {"inputs": [declared], "parameters": {"binary_data_output": True}}
    assert take_apart(rest.infer_binary("identity_fp32", document, data)).tensors["OUTPUT0"] == data
