"""Everything that reads a caller's bytes, each with valid bodies of its own, and what must hold for any other body."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import orjson

from configs.tensors import Datatype, Rows, Signature, TensorSpec
from deployments.protocols import compression, generate, plain, predict, v2_grpc, v2_json
from deployments.protocols.request import InferRequest, check_rows
from deployments.protocols.terms import terms_of
from deployments.protocols.v2_proto import ModelInferRequest

LIMIT = 1 << 20
"""Bytes that a compressed body may become."""
FORM = 'multipart/form-data; boundary="cut"'


def _echo(**inputs: tuple[str, list[int]]) -> Signature:
    """A graph that gives back what it takes."""
    specs = {name: TensorSpec(datatype=Datatype(kind), shape=tuple(shape)) for name, (kind, shape) in inputs.items()}
    return Signature(inputs=specs, outputs=specs)


GRAPH = _echo(**{datatype.lower(): (datatype.value, [-1, 2]) for datatype in Datatype})
ONE = _echo(image=("BYTES", [-1]))
FREE = _echo(x=("FP32", [-1, -1, -1]))
"""Dimensions of any size: where a caller's numbers decide how much memory is asked for."""

Read = Callable[[bytes, str], InferRequest]
Write = Callable[[InferRequest, Rows], object]


@dataclass(frozen=True)
class Door:
    """One way in."""

    graph: Signature
    seeds: tuple[tuple[bytes, str], ...]
    """Valid bodies, each with its header: the length of the JSON, a content type, a content coding."""
    read: Read
    write: Write
    """Encodes the answer of a graph that gives back what it takes."""

    def run(self, body: bytes, header: str) -> None:
        """What a gateway does with a request. Raises RequestError or Unsupported, and nothing else."""
        request = self.read(body, header)
        if check_rows(request.rows, self.graph.inputs or {}) < 1:
            raise AssertionError("accepted without rows")
        terms_of(request.parameters)
        wanted = request.rows if request.outputs is None else [name for name, _ in request.outputs]
        self.write(request, {name: request.rows[name] for name in wanted})


def _tensor(name: str, datatype: str, shape: list[int], **more: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def _values(datatype: Datatype) -> list[object]:
    values: dict[Datatype, list[object]] = {Datatype.BYTES: ["a", "b"], Datatype.BOOL: [True, False]}
    return values.get(datatype, [1, 0])


def _raw(datatype: Datatype) -> bytes:
    return b"\1\0\0\0a" * 2 if datatype is Datatype.BYTES else np.ones(2, datatype.dtype).tobytes()


def _json(**document: object) -> bytes:
    return json.dumps(document).encode()


_OUTPUTS = [
    {"name": "fp32", "parameters": {"classification": 1}},
    {"name": "int8", "parameters": {"binary_data": True}},
]
_PARAMETERS = {"timeout": 500_000, "priority": 3, "sequence_id": 7, "sequence_start": True, "mine": "x"}
_JSON = _json(
    inputs=[_tensor(d.lower(), d, [1, 2], data=_values(d)) for d in Datatype],
    id="7",
    outputs=_OUTPUTS,
    parameters=_PARAMETERS,
)
_FREE = _json(
    inputs=[_tensor("x", "FP32", [1, 2, 2], data=[[[1, 2], [3, 4]]])], parameters={"binary_data_output": True}
)
_HEADER = _json(
    inputs=[_tensor(d.lower(), d, [1, 2], parameters={"binary_data_size": len(_raw(d))}) for d in Datatype],
    parameters={"binary_data_output": True},
)
_BINARY = _HEADER + b"".join(map(_raw, Datatype))
_SHORT_HEADER = _json(inputs=[_tensor("image", "BYTES", [2], parameters={"binary_data_size": 10})])
_GRPC = ModelInferRequest(
    id="7",
    inputs=[_tensor(d.lower(), d.value, [1, 2]) for d in Datatype],
    outputs=[{"name": "fp32", "parameters": {"classification": {"int64_param": 1}}}],
    parameters={"timeout": {"int64_param": 500_000}, "priority": {"uint64_param": 3}, "mine": {"string_param": "x"}},
    raw_input_contents=map(_raw, Datatype),
).SerializeToString()
_FIELDS = {"BOOL": "bool_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}
_TYPED = ModelInferRequest(
    inputs=[
        _tensor(
            d.lower(),
            d.value,
            [1, 2],
            contents={
                _FIELDS.get(
                    d.value,
                    ("u" if d.value[0] == "U" else "") + ("int64_contents" if "64" in d.value else "int_contents"),
                ): [b"a", b"b"] if d is Datatype.BYTES else [1, 0]
            },
        )
        for d in Datatype
        if d not in (Datatype.FP16, Datatype.BF16)
    ]
).SerializeToString()
_TYPED_GRAPH = _echo(**{d.lower(): (d.value, [-1, 2]) for d in Datatype if d not in (Datatype.FP16, Datatype.BF16)})
_PLAIN = _json(**{d.lower(): [_values(d)] for d in Datatype})
_ROW = _json(**{d.lower(): _values(d) for d in Datatype})
_GENERATE = _json(**{d.lower(): _values(d) for d in Datatype}, id="7", parameters={"seed": 1}, timeout=500_000)
_INSTANCES = _json(instances=[{d.lower(): _values(d) for d in Datatype}] * 2, signature_name="s")
_COLUMNS = _json(inputs={d.lower(): [_values(d)] for d in Datatype})
_MULTIPART = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc\r\n--cut--\r\n'


def _read_v2(graph: Signature) -> Read:
    return lambda body, header: v2_json.decode_infer(body, header or None, graph, "m", "1")


def _write_v2(request: InferRequest, outputs: Rows) -> None:
    body, header = v2_json.encode_infer(request, outputs, "m", "1")
    text = body if isinstance(body, bytes) else b"".join(body)
    orjson.loads(text if header is None else text[:header])


def _read_grpc(graph: Signature) -> Read:
    return lambda body, header: v2_grpc.decode_infer(v2_grpc.parse_infer(body), graph)


def _write_grpc(request: InferRequest, outputs: Rows) -> None:
    v2_grpc.encode_infer(request, outputs, "m", "1").SerializeToString()


def _unpacked(read: Read) -> Read:
    def unpack(body: bytes, header: str) -> InferRequest:
        coding = compression.content_coding(header.encode("latin-1", errors="replace"))
        plain_body = compression.decompressed(body, coding, LIMIT) if coding else body
        if coding and len(plain_body) > LIMIT:
            raise AssertionError("a body was unpacked beyond its limit")
        return read(plain_body, "")

    return unpack


def _bombs() -> tuple[tuple[bytes, str], ...]:
    zeros = bytes(100 << 20)
    nested = gzip.compress(gzip.compress(zeros, 9), 9)
    spaces = b'{"x":' + b" " * (LIMIT - 8) + b"1}"
    packed = [gzip.compress(zeros, 9), gzip.compress(_PLAIN) * 1000, nested, gzip.compress(spaces, 9)]
    deep = b'{"x":' + b"[" * (LIMIT // 2) + b"]" * (LIMIT // 2 - 6) + b"}"
    return (
        *((body, "gzip") for body in packed),
        (zlib.compress(zeros, 9), "deflate"),
        (gzip.compress(deep, 9), "gzip"),
    )


_read_json = _read_v2(GRAPH)


def _predicted(body: bytes, header: str) -> InferRequest:
    return predict.decode(body, GRAPH, "m", "1")


def _packed_seeds() -> tuple[tuple[bytes, str], ...]:
    return (gzip.compress(_JSON), "gzip"), (zlib.compress(_JSON), "deflate")


DOORS: dict[str, Door] = {
    "json": Door(GRAPH, ((_JSON, ""),), _read_json, _write_v2),
    "json, free dimensions": Door(FREE, ((_FREE, ""),), _read_v2(FREE), _write_v2),
    "binary": Door(GRAPH, ((_BINARY, str(len(_HEADER))),), _read_json, _write_v2),
    "binary, BYTES": Door(
        ONE,
        ((_SHORT_HEADER + b"\1\0\0\0a" * 2, str(len(_SHORT_HEADER))), (b"\1\0\0\0a" * 2, "0")),
        _read_v2(ONE),
        _write_v2,
    ),
    "grpc raw": Door(GRAPH, ((_GRPC, ""),), _read_grpc(GRAPH), _write_grpc),
    "grpc typed": Door(_TYPED_GRAPH, ((_TYPED, ""),), _read_grpc(_TYPED_GRAPH), _write_grpc),
    "plain": Door(
        GRAPH, ((_PLAIN, ""), (_ROW, "")), lambda body, header: plain.decode(body, header, GRAPH), plain.encode
    ),
    "form": Door(ONE, ((_MULTIPART, FORM),), lambda body, header: plain.decode(body, header, ONE), plain.encode),
    "generate": Door(
        GRAPH,
        ((_GENERATE, ""),),
        lambda body, header: generate.decode(body, GRAPH, "m", "1"),
        lambda request, outputs: generate.encode(request, outputs, "m", "1"),
    ),
    ":predict": Door(GRAPH, ((_INSTANCES, ""), (_COLUMNS, "")), _predicted, predict.encode),
    "compressed": Door(GRAPH, _packed_seeds(), _unpacked(_read_json), _write_v2),
    "bombs": Door(FREE, _bombs(), _unpacked(lambda body, header: plain.decode(body, header, FREE)), plain.encode),
}
