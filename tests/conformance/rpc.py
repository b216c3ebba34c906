"""gRPC calls of the protocol, with messages of the suite's own."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest
from messages import message
from rest import A, B
from wire import pack, unpack

SERVICE = "inference.GRPCInferenceService"
LARGEST = 64 << 20
"""Bytes of the largest message."""

FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype → field of InferTensorContents; FP16 and BF16 have none."""

any_code = False
"""Whether a wrong request may get any code but OK: --any-error."""

Input = tuple[str, str, list[int], list[Any]]
"""Name, datatype, shape, values."""
SIMPLE: tuple[Input, Input] = (("INPUT0", "INT32", [1, 16], A), ("INPUT1", "INT32", [1, 16], B))


def request(model: str, *inputs: Input, raw: bool = True, outputs: Iterable[str] = (), **fields: Any) -> Any:
    """A ModelInferRequest with raw or typed contents."""
    asked = message("ModelInferRequest")(model_name=model, **fields)
    for name, datatype, shape, values in inputs:
        tensor = asked.inputs.add(name=name, datatype=datatype, shape=shape)
        if raw:
            asked.raw_input_contents.append(pack(datatype, values))
        else:
            getattr(tensor.contents, FIELDS[datatype]).extend(values)
    for name in outputs:
        asked.outputs.add(name=name)
    return asked


def simple(**fields: Any) -> Any:
    """A request for the model `simple`, one row."""
    return request("simple", *SIMPLE, **fields)


def values(response: Any, name: str) -> list[Any]:
    """An output's values, from raw or typed contents."""
    names = [output.name for output in response.outputs]
    index = names.index(name)
    output = response.outputs[index]
    if not response.raw_output_contents:
        return list(getattr(output.contents, FIELDS[output.datatype]))
    assert len(response.raw_output_contents) == len(names), "as many raw contents as outputs"
    typed = [item.name for item in response.outputs if item.contents.ByteSize()]
    assert not typed, f"raw and typed contents in one response: {typed}"
    return unpack(output.datatype, response.raw_output_contents[index])


class Rpc:
    """The server's gRPC door.

    Args:
        target: host:port.
        metadata: sent with each call.
        timeout_s: of each call.
    """

    def __init__(self, target: str, metadata: list[tuple[str, str]], timeout_s: float) -> None:
        self.target = target.removeprefix("grpc://")
        options = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
        self.channel = grpc.insecure_channel(self.target, options)
        self._metadata, self._timeout_s = metadata, timeout_s

    def call(self, method: str, asked: Any = None, **options: Any) -> Any:
        """One unary call; `asked` defaults to the empty request. Raises grpc.RpcError."""
        asked = message(f"{method}Request")() if asked is None else asked
        return self.unary(f"/{SERVICE}/{method}", asked, message(_answer(method)), **options)

    def unary(self, path: str, asked: Any, answer: Any, **options: Any) -> Any:
        """One unary call of any service."""
        call = self.channel.unary_unary(path, type(asked).SerializeToString, answer.FromString)
        return call(asked, metadata=self._metadata, timeout=self._timeout_s, **options)

    def bytes_call(self, method: str, content: bytes) -> bytes:
        """One unary call with any bytes in place of a message."""
        answered: bytes = self.channel.unary_unary(f"/{SERVICE}/{method}")(
            content, metadata=self._metadata, timeout=self._timeout_s
        )
        return answered

    def stream(self, asked: Iterable[Any]) -> Iterator[Any]:
        """ModelStreamInfer: responses as they come."""
        return self.streaming(f"/{SERVICE}/ModelStreamInfer", asked, message("ModelStreamInferResponse"))

    def streaming(self, path: str, asked: Iterable[Any], answer: Any) -> Any:
        """A bidirectional stream of any service."""
        call = self.channel.stream_stream(path, _serialised, answer.FromString)
        return call(iter(asked), metadata=self._metadata, timeout=self._timeout_s)

    def refused(self, method: str, asked: Any, *codes: grpc.StatusCode) -> str:
        """The details of a call that must fail with one of the codes (INVALID_ARGUMENT, NOT_FOUND by default)."""
        codes = codes or (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, asked)
        error = caught.value
        assert any_code or error.code() in codes, f"{error.code()}, expected one of {codes}: {error.details()}"
        details: str = error.details()
        assert details, "an error without a message"
        return details


def _answer(method: str) -> str:
    return "ModelInferResponse" if method == "ModelInfer" else f"{method}Response"


def _serialised(asked: Any) -> bytes:
    content: bytes = asked.SerializeToString()
    return content
