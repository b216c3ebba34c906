"""Compressed bodies over HTTP, as Triton's clients send and take them."""

import gzip
import json
import time
import zlib
from collections.abc import Callable

import httpx
import pytest
from rest import SUM, A, B, Rest, binary_body, binary_tensor, refused, simple, take_apart, tensor, values

pytestmark = [pytest.mark.needs("compression"), pytest.mark.model("simple")]

INFER = "/v2/models/simple/infer"
# RFC 9110, 8.4.1.2: "deflate" is the zlib format.
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}
UNPACKERS = {"gzip": gzip.decompress, "deflate": zlib.decompress}
BOMB = 256 << 20
"""Bytes of a body of spaces, which compress to a thousandth."""


def raw(rest: Rest, content: bytes, headers: dict[str, str]) -> tuple[httpx.Response, bytes]:
    """A response and its body as it came, not decompressed."""
    headers = {"content-type": "application/json", **headers}
    with rest.client.stream("POST", INFER, content=content, headers=headers) as response:
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize(("encoding", "packed"), PACKERS.items())
def test_compressed_request(rest: Rest, encoding: str, packed: Callable[[bytes], bytes]) -> None:
    """RFC 9110, 8.4 "Content-Encoding"; Triton's HTTP compression: the request's body."""
    response = rest.post(INFER, packed(json.dumps(simple()).encode()), {"content-encoding": encoding})
    assert response.status_code == 200, response.text
    assert values(response.json(), "OUTPUT0") == SUM


@pytest.mark.needs("binary")
@pytest.mark.parametrize(("encoding", "packed"), PACKERS.items())
def test_compressed_binary_request(rest: Rest, encoding: str, packed: Callable[[bytes], bytes]) -> None:
    """Triton's HTTP compression: Inference-Header-Content-Length is the JSON's length before compression."""
    declared, data = binary_tensor("INPUT1", "INT32", [1, 16], B)
    document = {"inputs": [tensor("INPUT0", "INT32", [1, 16], A), declared], "outputs": [{"name": "OUTPUT0"}]}
    content, headers = binary_body(document, data)
    response = rest.post(INFER, packed(content), {**headers, "content-encoding": encoding})
    assert response.status_code == 200, response.text
    assert values(response.json(), "OUTPUT0") == SUM


@pytest.mark.parametrize(("encoding", "unpacked"), UNPACKERS.items())
def test_compressed_response(rest: Rest, encoding: str, unpacked: Callable[[bytes], bytes]) -> None:
    """RFC 9110, 12.5.3 "Accept-Encoding": the response in the one coding that is accepted."""
    response, body = raw(rest, json.dumps(simple()).encode(), {"accept-encoding": encoding})
    assert response.status_code == 200
    assert response.headers["content-encoding"] == encoding
    assert int(response.headers.get("content-length", len(body))) == len(body)
    assert values(json.loads(unpacked(body)), "OUTPUT0") == SUM


@pytest.mark.needs("binary")
def test_compressed_binary_response(rest: Rest) -> None:
    """Triton's HTTP compression: Inference-Header-Content-Length counts what is inside the coding."""
    content = json.dumps(simple(parameters={"binary_data_output": True}))
    response = rest.post(INFER, content, {"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert take_apart(response).values("OUTPUT0") == SUM


def test_plain_when_asked(rest: Rest) -> None:
    """RFC 9110, 12.5.3: `identity` alone."""
    response, body = raw(rest, json.dumps(simple()).encode(), {"accept-encoding": "identity"})
    assert response.headers.get("content-encoding", "identity") == "identity"
    assert values(json.loads(body), "OUTPUT0") == SUM


def test_a_coding_of_weight_zero_is_not_used(rest: Rest) -> None:
    """RFC 9110, 12.5.3: "q=0" means not acceptable."""
    response, _ = raw(rest, json.dumps(simple()).encode(), {"accept-encoding": "gzip;q=0, deflate;q=0, identity"})
    assert response.headers.get("content-encoding", "identity") == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_broken_compression(rest: Rest, encoding: str) -> None:
    """OIP REST, "Inference Response JSON Error Object": a body that does not unpack."""
    refused(rest.post(INFER, b"not compressed at all", {"content-encoding": encoding}))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_cut_off(rest: Rest, encoding: str) -> None:
    """OIP REST, "Inference Response JSON Error Object": a body that ends inside the coding."""
    refused(rest.post(INFER, PACKERS[encoding](json.dumps(simple()).encode())[:-12], {"content-encoding": encoding}))


def test_unknown_coding(rest: Rest) -> None:
    """RFC 9110, 8.4: a coding that the server does not know, 415 or another 4xx."""
    refused(rest.post(INFER, b"abc", {"content-encoding": "x-nonsense"}))


def test_a_bomb_is_refused(rest: Rest) -> None:
    """OIP REST, "Inference Response JSON Error Object": 256 MiB of spaces in 256 KiB, refused without delay."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(BOMB >> 20)) + packer.flush()
    started = time.monotonic()
    refused(rest.post(INFER, bomb, {"content-encoding": "gzip"}))
    assert time.monotonic() - started < 10
    assert values(rest.answer("simple", simple()), "OUTPUT0") == SUM
