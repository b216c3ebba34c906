"""Bad requests through every door: the protocol's own error, nothing hangs, and the server goes on."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from deployments.protocols import v2_proto
from tests.support.grpc_client import call, infer_request
from tests.support.server import MAX_REQUEST_BYTES, Server

ZERO = [[[0] * 8] * 8]
BYTES_OF_ZERO = bytes(64)
INFER = "/v2/models/digits/infer"
HUGE = 2**62


def tensor(**fields: Any) -> dict:
    return {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8], "data": ZERO, **fields}


def v2(*tensors: dict, **fields: Any) -> bytes:
    return json.dumps({"inputs": list(tensors), **fields}).encode()


def check_alive(server: Server) -> None:
    good = server.request(INFER, v2(tensor()))
    assert good.status == 200
    assert [output["name"] for output in good.json["outputs"]] == ["label", "score"]


def check_error(server: Server, body: bytes, headers: dict[str, str], path: str, status: int, words: str) -> None:
    answer = server.request(path, body, headers)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    check_message(answer.json["error"], words)
    check_alive(server)


def check_message(message: str, words: str) -> None:
    assert words in message
    assert "Traceback" not in message
    assert 'File "' not in message
    assert len(message) < 1000


V2_JSON = {
    "empty": (b"", 400, "empty"),
    "not JSON": (b"{", 400, "not JSON"),
    "not an object": (b"[]", 400, "not an object"),
    "no inputs": (b"{}", 400, "the body has no `inputs`"),
    "no tensor": (v2(), 400, "missing input 'image'"),
    "other input": (v2(tensor(name="picture")), 400, "unknown input 'picture'"),
    "wrong shape": (v2(tensor(shape=[1, 8, 7])), 400, "has shape [1, 8, 7], expected [-1, 8, 8]"),
    "no rows": (v2(tensor(shape=[0, 8, 8], data=[])), 400, "zero rows"),
    "shape and data differ": (v2(tensor(shape=[2, 8, 8])), 400, "image"),
    "wrong type": (v2(tensor(datatype="FP32")), 400, "has datatype 'FP32', expected UINT8"),
    "unknown type": (v2(tensor(datatype="UINT9")), 400, "has datatype 'UINT9'"),
    "value of another type": (v2(tensor(data=["0"] * 64)), 400, "image"),
    "value out of the type": (v2(tensor(data=[300] * 64)), 400, "300"),
    "value out of range": (v2(tensor(data=[17] * 64)), 400, "largest value accepted is 16"),
    "overflowing shape": (v2(tensor(shape=[HUGE, 8, 8])), 400, "image"),
    "beyond 64 bits": (v2(tensor(shape=[2**80, 8, 8])), 400, "image"),
    "negative shape": (v2(tensor(shape=[-1, 8, 8])), 400, "expected sizes from 0 up"),
    "unknown output": (v2(tensor(), outputs=[{"name": "age"}]), 400, "unknown output 'age'"),
    "deep": (b"[" * 100_000, 400, "not JSON"),
    "oversized": (b" " * (MAX_REQUEST_BYTES + 1), 413, "max_request_bytes"),
}


@pytest.mark.parametrize("case", V2_JSON)
def test_v2_json(server: Server, case: str) -> None:
    body, status, words = V2_JSON[case]
    check_error(server, body, {}, INFER, status, words)


def binary(size: int = 64, **fields: Any) -> bytes:
    described = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8], "parameters": {"binary_data_size": size}}
    return v2(described | fields)


BINARY = {
    "length is no number": (binary() + BYTES_OF_ZERO, "many", 400, "expected a number of bytes"),
    "length is negative": (binary() + BYTES_OF_ZERO, "-1", 400, "expected a number of bytes"),
    "length beyond the body": (binary() + BYTES_OF_ZERO, "100000", 400, "but the body has"),
    "length too small": (binary() + BYTES_OF_ZERO, "10", 400, "not JSON"),
    "length too large": (binary() + BYTES_OF_ZERO, str(len(binary()) + 10), 400, "not JSON"),
    "no length": (binary() + BYTES_OF_ZERO, None, 400, "not JSON"),
    "size beyond the body": (binary(65) + BYTES_OF_ZERO, str(len(binary())), 400, "64 bytes are left"),
    "size negative": (binary(-64) + BYTES_OF_ZERO, str(len(binary(-64))), 400, "binary_data_size is -64"),
    "size and shape differ": (binary(63) + bytes(63), str(len(binary())), 400, "needs 64 bytes, got 63"),
    "bytes left over": (binary() + BYTES_OF_ZERO * 2, str(len(binary())), 400, "belong to no input"),
    "overflowing shape": (
        binary(shape=[HUGE, 8, 8]) + BYTES_OF_ZERO,
        str(len(binary(shape=[HUGE, 8, 8]))),
        400,
        "needs",
    ),
    "raw of another size": (bytes(63), "0", 400, "needs 64 bytes, got 63"),
    "raw and empty": (b"", "0", 400, "empty"),
}


@pytest.mark.parametrize("case", BINARY)
def test_v2_binary(server: Server, case: str) -> None:
    body, length, status, words = BINARY[case]
    headers = {} if length is None else {"inference-header-content-length": length}
    check_error(server, body, {"content-type": "application/octet-stream", **headers}, INFER, status, words)


JSON = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data; boundary=b"}


def part(name: str | None, content: bytes, end: bytes = b"--b--\r\n") -> bytes:
    naming = b"" if name is None else b'; name="%s"' % name.encode()
    return b"--b\r\nContent-Disposition: form-data%s\r\n\r\n%s\r\n%s" % (naming, content, end)


PLAIN = {
    "empty": ("/digits", b"", JSON, 400, "empty"),
    "not JSON": ("/digits", b"image=1", JSON, 400, "not JSON"),
    "not an object": ("/digits", b"7", JSON, 400, "not an object"),
    "no input": ("/digits", b"{}", JSON, 400, "missing input 'image'"),
    "other input": ("/digits", b'{"picture": 1}', JSON, 400, "unknown input 'picture'"),
    "wrong shape": ("/digits", b'{"image": [[1, 2]]}', JSON, 400, "image"),
    "ragged": ("/digits", json.dumps({"image": [[[0] * 8] * 7 + [[0] * 7]]}).encode(), JSON, 400, "image"),
    "wrong type": ("/digits", json.dumps({"image": [[["0"] * 8] * 8]}).encode(), JSON, 400, "image"),
    "oversized": ("/digits", b" " * (MAX_REQUEST_BYTES + 1), JSON, 413, "max_request_bytes"),
    "another type": ("/digits", b"<image/>", {"content-type": "text/xml"}, 415, "send application/json"),
    "not compressed": ("/digits", b"{}", {**JSON, "content-encoding": "gzip"}, 400, "not gzip"),
    "unknown coding": ("/digits", b"{}", {**JSON, "content-encoding": "br"}, 415, "br"),
    "a file for numbers": ("/digits", b"x", {"content-type": "image/png"}, 415, "send application/json"),
    "no image": ("/picture", b"GIF89a", {"content-type": "image/gif"}, 400, "not a JPEG or PNG image"),
    "no boundary": ("/picture", b"", {"content-type": "multipart/form-data"}, 400, ""),
    "broken form": ("/picture", b"image", FORM, 400, "broken"),
    "unnamed part": ("/picture", part(None, b"x"), FORM, 400, "no name"),
    "unknown part": ("/picture", part("file", b"x"), FORM, 400, "unknown input 'file'"),
    "unfinished form": ("/picture", part("image", b"x", b""), FORM, 400, "ends before"),
    "broken image": ("/picture", part("image", b"\x89PNG\r\n\x1a\n"), FORM, 400, "not a JPEG or PNG image"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_plain(server: Server, case: str) -> None:
    path, body, headers, status, words = PLAIN[case]
    check_error(server, body, headers, path, status, words)


PATHS = {
    "unknown model": ("/v2/models/cat/infer", "POST", 404, "Request for unknown model: 'cat' is not found"),
    "unknown model's metadata": ("/v2/models/cat", "GET", 404, "Request for unknown model"),
    "unknown version": ("/v2/models/digits/versions/7/infer", "POST", 404, "has no version '7'"),
    "unknown path": ("/v2/cats", "GET", 404, "no such path: /v2/cats"),
    "unknown graph": ("/cat", "POST", 404, "no such path: /cat"),
    "GET of infer": (INFER, "GET", 405, "use POST"),
    "PUT of a graph": ("/digits", "PUT", 405, "use GET or POST"),
    "POST of health": ("/v2/health/live", "POST", 405, "use GET"),
}


@pytest.mark.parametrize("case", PATHS)
def test_paths_and_methods(server: Server, case: str) -> None:
    path, method, status, words = PATHS[case]
    answer = server.request(path, v2(tensor()) if method != "GET" else None, method=method)
    assert answer.status == status
    check_message(answer.json["error"], words)
    check_alive(server)


def test_oversized_without_a_declared_length(server: Server) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_REQUEST_BYTES // 65536 + 1):
            yield b" " * 65536

    check_error(server, chunks(), JSON, "/digits", 413, "max_request_bytes")  # type: ignore[arg-type]


def test_a_failing_node_is_a_500_that_names_it(server: Server) -> None:
    answer = server.request("/failing", {"x": [[1, 2]]})
    assert answer.status == 500
    check_message(answer.json["error"], "node broken failed: RuntimeError: out of order")


def image(shape: list[int], content: bytes, datatype: str = "UINT8", **fields: Any) -> bytes:
    request = infer_request(fields.pop("model", "digits"), [("image", datatype, shape, content)], **fields)
    message: bytes = request.SerializeToString()
    return message


GRPC = {
    "empty": (b"", "NOT_FOUND", "Request for unknown model"),
    "no message": (b"\xff\xff\xff\xff", "INVALID_ARGUMENT", "not a ModelInferRequest"),
    "no tensor": (infer_request("digits", []).SerializeToString(), "INVALID_ARGUMENT", "missing input"),
    "wrong shape": (image([1, 8, 7], bytes(56)), "INVALID_ARGUMENT", "expected [-1, 8, 8]"),
    "wrong type": (image([1, 8, 8], bytes(256), "FP32"), "INVALID_ARGUMENT", "expected UINT8"),
    "overflowing shape": (image([HUGE, 8, 8], BYTES_OF_ZERO), "INVALID_ARGUMENT", "needs"),
    "negative shape": (image([-1, 8, 8], BYTES_OF_ZERO), "INVALID_ARGUMENT", "expected sizes from 0 up"),
    "size and shape differ": (image([1, 8, 8], bytes(63)), "INVALID_ARGUMENT", "needs 64 bytes, got 63"),
    "value out of range": (image([1, 8, 8], b"\x11" * 64), "INVALID_ARGUMENT", "largest value accepted is 16"),
    "unknown model": (image([1, 8, 8], BYTES_OF_ZERO, model="cat"), "NOT_FOUND", "Request for unknown model: 'cat'"),
    "unknown version": (image([1, 8, 8], BYTES_OF_ZERO, version="7"), "NOT_FOUND", "has no version '7'"),
    "oversized": (image([1, 8, 8], bytes(MAX_REQUEST_BYTES)), "RESOURCE_EXHAUSTED", "max_request_bytes"),
}


@pytest.mark.parametrize("case", GRPC)
def test_grpc(server: Server, case: str) -> None:
    message, code, words = GRPC[case]
    with pytest.raises(grpc.RpcError) as failed:
        call(server.grpc, "ModelInfer", message)
    assert failed.value.code() is getattr(grpc.StatusCode, code)
    check_message(failed.value.details(), words)
    good = v2_proto.ModelInferResponse.FromString(call(server.grpc, "ModelInfer", image([1, 8, 8], BYTES_OF_ZERO)))
    assert [output.name for output in good.outputs] == ["label", "score"]


def test_grpc_failing_node(server: Server) -> None:
    request = infer_request("failing", [("x", "FP32", [1, 2], bytes(8))])
    with pytest.raises(grpc.RpcError) as failed:
        call(server.grpc, "ModelInfer", request.SerializeToString())
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    check_message(failed.value.details(), "node broken failed: RuntimeError: out of order")


def test_grpc_method_that_is_not_served(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        call(server.grpc, "ModelDance", b"")
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
