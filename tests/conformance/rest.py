"""HTTP requests of the protocol, built and read byte by byte."""

import json
import math
from dataclasses import dataclass
from typing import Any

import httpx
from wire import as_json, pack, unpack

HEADER = "Inference-Header-Content-Length"
refusals = range(400, 500)
"""Status codes that a wrong request may get; --any-error widens it."""
A, B = list(range(16)), [1] * 16
"""One row of INPUT0 and of INPUT1 of the model `simple`."""
SUM, DIFFERENCE = [a + b for a, b in zip(A, B, strict=True)], [a - b for a, b in zip(A, B, strict=True)]


def tensor(name: str, datatype: str, shape: list[int], values: list[Any]) -> dict[str, Any]:
    """An input as JSON."""
    return {"name": name, "datatype": datatype, "shape": shape, "data": as_json(datatype, values)}


def simple(**fields: Any) -> dict[str, Any]:
    """A request for the model `simple`, one row."""
    inputs = [tensor("INPUT0", "INT32", [1, 16], A), tensor("INPUT1", "INT32", [1, 16], B)]
    return {"inputs": inputs, **fields}


@dataclass
class BinaryAnswer:
    """A response of the binary extension, taken apart."""

    document: dict[str, Any]
    tensors: dict[str, bytes]
    headers: httpx.Headers

    def output(self, name: str) -> dict[str, Any]:
        """The JSON of an output."""
        return output(self.document, name)

    def values(self, name: str) -> list[Any]:
        """An output's values from its bytes."""
        return unpack(self.output(name)["datatype"], self.tensors[name])


def output(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The JSON of one output."""
    [found] = [item for item in document["outputs"] if item["name"] == name]
    return found


def flat(data: Any) -> list[Any]:
    """JSON tensor data in row-major order, whether nested or flat."""
    if not isinstance(data, list):
        return [data]
    return [value for item in data for value in flat(item)]


def values(document: dict[str, Any], name: str) -> list[Any]:
    """An output's values from JSON; checks that there are as many as its shape says."""
    found = output(document, name)
    data = flat(found["data"])
    assert len(data) == math.prod(found["shape"]), f"shape {found['shape']} with {len(data)} values"
    return data


def refused(response: httpx.Response) -> str:
    """The message of an error that is the client's fault: 4xx, `{"error": message}`."""
    assert response.status_code in refusals, f"{response.status_code}, not in {refusals}: {response.text[:300]}"
    assert response.headers["content-type"].startswith("application/json"), response.headers
    message = response.json()["error"]
    assert isinstance(message, str)
    assert message
    return message


def binary_body(document: dict[str, Any], *tails: bytes) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a request of the binary extension."""
    head = json.dumps(document).encode()
    return head + b"".join(tails), {HEADER: str(len(head)), "content-type": "application/octet-stream"}


def binary_tensor(name: str, datatype: str, shape: list[int], values_: list[Any]) -> tuple[dict[str, Any], bytes]:
    """An input of the binary extension: its JSON and its bytes."""
    data = pack(datatype, values_)
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}, data


def take_apart(response: httpx.Response) -> BinaryAnswer:
    """A response with binary tensors; checks that lengths and order agree."""
    assert response.status_code == 200, response.text
    assert HEADER in response.headers, f"no {HEADER} in {response.headers}"
    size = int(response.headers[HEADER])
    document, tail = json.loads(response.content[:size]), response.content[size:]
    tensors = {}
    for item in document["outputs"]:
        length = item.get("parameters", {}).get("binary_data_size")
        if length is not None:
            assert "data" not in item, "an output is either binary or JSON"
            tensors[item["name"]], tail = tail[:length], tail[length:]
            assert len(tensors[item["name"]]) == length
    assert tail == b"", f"{len(tail)} bytes belong to no output"
    return BinaryAnswer(document, tensors, response.headers)


class Rest:
    """The server's HTTP door.

    Args:
        url: where `/v2` is.
        headers: sent with each request, e.g. `Host` for an ingress.
        timeout_s: of each request.
    """

    def __init__(self, url: str, headers: dict[str, str], timeout_s: float) -> None:
        self.url = url.rstrip("/")
        headers = {"accept-encoding": "identity", **headers}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """One GET."""
        return self.client.get(path)

    def post(self, path: str, content: bytes | str, headers: dict[str, str] | None = None) -> httpx.Response:
        """One POST of bytes as they are."""
        return self.client.post(path, content=content, headers={"content-type": "application/json", **(headers or {})})

    def infer(self, model: str, document: dict[str, Any], version: str = "") -> httpx.Response:
        """One inference in JSON."""
        return self.post(infer_path(model, version), json.dumps(document))

    def answer(self, model: str, document: dict[str, Any], version: str = "") -> dict[str, Any]:
        """The document of an inference that succeeds."""
        response = self.infer(model, document, version)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("application/json")
        found: dict[str, Any] = response.json()
        return found

    def infer_binary(self, model: str, document: dict[str, Any], *tails: bytes) -> httpx.Response:
        """One inference with the binary extension."""
        content, headers = binary_body(document, *tails)
        return self.post(infer_path(model), content, headers)


def infer_path(model: str, version: str = "") -> str:
    """Path of a model's inference."""
    return f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
