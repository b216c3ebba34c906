"""Bodies that are almost valid: pieces of bytes, values of JSON documents and fields of protobuf messages changed."""

from random import Random
from typing import Any

import orjson

from configs.tensors import Datatype
from deployments.protocols.v2_proto import ModelInferRequest

TOKENS = [
    b"", b"-1", b"1e999", b"null", b"[", b"]", b"{", b"}", b'"', b"9" * 25, b"true", b"\0", b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f", b"\x80" * 10, b"NaN", b",", b'"\\ud800"', b"\r\n--cut--", b"0" * 40, b"[" * 300, b"1e-400",
]  # fmt: skip
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 0.5, -0.0, 1e308, 1e-320, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1, "", "a",
    "7", "-1", "é\0", "\U0001f40e", "x" * 300, [], {}, [[]], [[[]]], [None], [1, 2], [[1, 2], [3]], [1, "a"],
    [2**40, 2**40], [2**62, 4], [0], [-1, 2], [1] * 70, {"b64": "YQ=="}, {"b64": "!"}, {"b64": 1}, {"name": "fp32"},
    {"a": {"b": []}},
    "FP32", "BYTES", "INT64", "fp32", {"binary_data_size": 2**63}, {"binary_data_size": -1}, {"classification": 2**40},
    {"classification": 1}, {"shared_memory_region": "r"}, {"timeout": 1}, {"sequence_id": 1, "sequence_start": 1},
]  # fmt: skip
_HOSTILE = list(map(orjson.dumps, HOSTILE))
"""As text: each input gets values of its own, which its next change may change."""
KEYS = [
    "name", "datatype", "shape", "data", "parameters", "inputs", "outputs", "id", "instances", "timeout", "priority",
    "sequence_id", "sequence_end", "binary_data", "binary_data_size", "classification", "b64", "fp32", "int64", "", "x",
]  # fmt: skip
HEADERS = ["", "0", "1", "-1", "7", "9" * 30, "1_0", "٣", " 2 ", "gzip", "deflate", "br", "image/png", "text/plain"]
HEADERS += ["application/json", "application/octet-stream", "multipart/form-data", "multipart/form-data; boundary="]
SHAPES = [(), (1,), (0, 2), (-1, 2), (2, 2), (1, 2, 1), (2**62, 4), (2**40, 2**40), (2**63 - 1,), (1,) * 70]
_CONTENTS = {
    "bool_contents": True, "int_contents": 2**31 - 1, "int64_contents": -(2**63), "uint_contents": 2**32 - 1,
    "uint64_contents": 2**64 - 1, "fp32_contents": 1e30, "fp64_contents": 1e300, "bytes_contents": b"\xff",
}  # fmt: skip


def mutated(random: Random, body: bytes, header: str, is_proto: bool) -> tuple[bytes, str]:
    """Another body and header, made of these. The same numbers from `random` make the same."""
    chance = random.random()
    if chance < 0.45 and body:
        body, header = _restructured(random, body, header, is_proto)
    if chance > 0.4:
        for _ in range(random.randint(1, 4)):
            body = _cut(random, body)
    if random.random() < 0.05:
        header = random.choice(HEADERS)
    return body, header


def _cut(random: Random, body: bytes) -> bytes:
    """A piece replaced, repeated, removed or flipped."""
    start = random.randint(0, len(body))
    end = min(len(body), start + random.choice((0, 0, 1, 1, 2, 4, 12, 80)))
    choice = random.random()
    if choice < 0.4:
        piece = random.choice(TOKENS)
    elif choice < 0.6:
        piece = body[start:end] * 2
    elif choice < 0.8:
        piece = random.randbytes(random.randint(0, 4))
    elif choice < 0.9:
        other = random.randint(0, len(body))
        piece = body[other : other + 20]
    else:
        return body[:start]
    return body[:start] + piece + body[end:]


def _restructured(random: Random, body: bytes, header: str, is_proto: bool) -> tuple[bytes, str]:
    if is_proto:
        return _message(random, body), header
    size = int(header) if header.isdigit() and int(header) else len(body)
    try:
        document = orjson.loads(body[:size])
    except orjson.JSONDecodeError:
        return body, header
    for _ in range(random.randint(1, 3)):
        document = _changed(random, document)
    text = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    # The header follows the JSON, or hardly any mutation would reach the tensors behind it.
    return text + body[size:], str(len(text)) if size < len(body) else header


def _changed(random: Random, value: Any) -> Any:
    """The document with one value somewhere in it replaced, removed, added, repeated or wrapped."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.12:
        return random.choice((orjson.loads(random.choice(_HOSTILE)), [value], [value, value], {"name": value}))
    choice = random.random()
    if isinstance(value, dict):
        key = random.choice(list(value))
        if choice < 0.7:
            value[key] = _changed(random, value[key])
        elif choice < 0.8:
            del value[key]
        elif choice < 0.9:
            value[random.choice(KEYS)] = value.pop(key)
        else:
            value[random.choice(KEYS)] = orjson.loads(random.choice(_HOSTILE))
        return value
    index = random.randrange(len(value))
    if choice < 0.8:
        value[index] = _changed(random, value[index])
    elif choice < 0.9:
        del value[index]
    else:
        value.append(value[index])
    return value


def _message(random: Random, body: bytes) -> bytes:
    """A ModelInferRequest with some of its fields changed."""
    message: Any = ModelInferRequest.FromString(body)
    for _ in range(random.randint(1, 3)):
        tensor = random.choice(message.inputs)
        match random.randrange(9):
            case 0:
                del tensor.shape[:]
                tensor.shape.extend(random.choice(SHAPES))
            case 1:
                tensor.datatype = random.choice([*(d.value for d in Datatype), "", "FP8"])
            case 2:
                tensor.name = random.choice(KEYS)
            case 3 if message.raw_input_contents:
                index = random.randrange(len(message.raw_input_contents))
                message.raw_input_contents[index] = _cut(random, message.raw_input_contents[index])
            case 4:
                field = random.choice(list(_CONTENTS))
                getattr(tensor.contents, field).extend([_CONTENTS[field]] * random.randint(1, 3))
            case 5:
                message.parameters[random.choice(KEYS)].int64_param = random.choice((0, -1, 5, 2**63 - 1))
            case 6:
                message.parameters[random.choice(KEYS)].SetInParent()
            case 7:
                output = message.outputs.add(name=random.choice(KEYS))
                output.parameters["classification"].int64_param = random.choice((0, -1, 1, 2**63 - 1))
            case _:
                del message.raw_input_contents[random.randrange(len(message.raw_input_contents) + 1) :]
    text: bytes = message.SerializeToString()
    return text
