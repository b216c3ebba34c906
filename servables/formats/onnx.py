"""ONNX models, run by onnxruntime. The file carries its own signature."""

import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ModelError
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import SIGNATURE, matching, one_line, only_file
from servables.gpu_memory import total_bytes
from servables.manifest import Specs, read_manifest, resolve
from servables.memory import Memory, files_memory
from servables.texts import decoded

NAME = "onnx"
PATTERNS = ("*.onnx",)

_DATATYPES = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}
"""ONNX tensor types whose arrays onnxruntime takes from and gives to NumPy."""


_SESSION = 120_000
"""Bytes of a session without a model."""
_TREES = 5
"""Bytes in memory for one in the file of an ensemble of trees: 5.0 and 5.3 for forests of 3.8 and 4.9 MB."""


class OnnxServable:
    """One onnxruntime session."""

    def __init__(self, session: Any, signature: Signature, memory: Memory) -> None:
        assert signature.inputs is not None
        assert signature.outputs is not None
        self.signature = signature
        self._memory = memory
        self._run: Callable[[list[str], Rows], list[np.ndarray]] = session.run
        self._outputs = list(signature.outputs)
        self._texts_in = _texts(signature.inputs)
        self._texts_out = _texts(signature.outputs)

    def __call__(self, rows: Rows) -> Rows:
        """Run the session; text goes in and comes out as UTF-8."""
        if self._texts_in:
            rows = rows | {name: decoded(name, rows[name]) for name in self._texts_in}
        found = dict(zip(self._outputs, self._run(self._outputs, rows), strict=True))
        for name in self._texts_out:
            found[name] = _encode(found[name])
        return found

    def memory(self) -> Memory:
        """Bytes of the session: as many as its files have, several times that for ensembles of trees."""
        return self._memory

    def close(self) -> None:
        """Drop the session; its memory is freed with the last reference."""
        del self._run


def matches(folder: Path) -> bool:
    """Whether an .onnx file lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Start a session. Raises ModelError, also for outputs that are no tensors and for a fixed number of rows."""
    runtime = require("onnxruntime", "onnx")
    path = only_file(folder, PATTERNS)
    chosen = providers(options, runtime.get_available_providers(), total_bytes)
    try:
        session = runtime.InferenceSession(str(path), _session_options(runtime, options), providers=chosen)
    except ModelError:
        raise
    except Exception as error:  # onnxruntime has a class of error for each way in which a file can be wrong
        raise ModelError(f"{path} does not load in onnxruntime: {one_line(error)}") from error
    if session.get_providers()[0] != chosen[0][0]:
        raise ModelError(f"{path}: onnxruntime could not start {chosen[0][0]}; see its log, or use device cpu")
    manifest = read_manifest(folder)
    inputs = {value.name: _spec(path, "input", value) for value in session.get_inputs()}
    outputs = _outputs(path, session.get_outputs(), manifest.outputs)
    return OnnxServable(session, resolve(folder, manifest, inputs, outputs), _memory(folder, path, options.device))


def providers(
    options: LoadOptions, available: list[str], memory: Callable[[int], int]
) -> list[tuple[str, dict[str, int]]]:
    """The execution provider for the device, with its share of `memory(device index)` bytes. Raises ModelError."""
    if not options.device.startswith("cuda"):
        return [("CPUExecutionProvider", {})]
    if "CUDAExecutionProvider" not in available:
        raise ModelError(f"device {options.device}: this onnxruntime has no CUDA; install onnxruntime-gpu, or use cpu")
    index = int(options.device.partition(":")[2] or 0)
    cuda = {"device_id": index}
    if options.gpu_fraction > 0:
        cuda["gpu_mem_limit"] = int(options.gpu_fraction * memory(index))
    return [("CUDAExecutionProvider", cuda), ("CPUExecutionProvider", {})]


def _memory(folder: Path, path: Path, device: str) -> Memory:
    """onnxruntime does not tell. It keeps the file's numbers of a tree as attributes, and makes nodes of them."""
    size = files_memory(folder, device)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        trees = content.find(b"TreeEnsemble") >= 0
    return Memory(_SESSION + (_TREES if trees else 1) * size.host, size.gpu)


def _session_options(runtime: Any, options: LoadOptions) -> Any:
    session = runtime.SessionOptions()
    session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    # idle threads that spin take the CPU that the event loop and other models need
    session.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session.log_severity_level = 3  # errors; they are raised anyway
    return session


def _outputs(path: Path, values: list[Any], written: Specs | None) -> Specs:
    """Specs by output name; an output whose rank the file leaves open takes what `signature.json` says."""
    found = {}
    for value in values:
        if not value.shape and value.type in _DATATYPES:
            if written is None or value.name not in written:
                raise ModelError(f"{path}: output {value.name} has no known shape; give `outputs` in {SIGNATURE}")
            found[value.name] = TensorSpec(datatype=_DATATYPES[value.type], shape=written[value.name].shape)
        else:
            found[value.name] = _spec(path, "output", value)
    return found


def _spec(path: Path, side: str, value: Any) -> TensorSpec:
    if value.type not in _DATATYPES:
        zipmap = value.type.startswith("seq(map(")
        remedy = "export with options={'zipmap': False}" if zipmap else "it cannot be served"
        raise ModelError(f"{path}: {side} {value.name} is {value.type}, not a tensor of NumPy's types; {remedy}")
    if not value.shape or isinstance(value.shape[0], int):
        rows = f"a fixed number of rows ({value.shape[0]})" if value.shape else "no rows"
        raise ModelError(f"{path}: {side} {value.name} has {rows}; export with a dynamic first dimension")
    sizes = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return TensorSpec(datatype=_DATATYPES[value.type], shape=sizes)


def _texts(specs: Specs) -> list[str]:
    return [name for name, spec in specs.items() if spec.datatype is Datatype.BYTES]


def _encode(array: np.ndarray) -> np.ndarray:
    return np.array([value.encode() for value in array.ravel()], object).reshape(array.shape)
