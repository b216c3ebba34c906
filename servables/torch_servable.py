"""Call a PyTorch model with NumPy arrays: what the three PyTorch formats share."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from configs.errors import ModelError
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions
from servables.extras import require
from servables.files import one_line
from servables.manifest import Manifest, resolve
from servables.memory import Memory, of_tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Forward = Callable[..., Any]
"""Tensors in the order of the signature's inputs → a tensor, or a tuple, list or dict of tensors."""


class TorchServable:
    """A PyTorch model as a servable. Inputs are viewed, not copied, unless the model writes to them."""

    def __init__(
        self, forward: Forward, signature: Signature, device: str, copies: bool, weights: Iterable["Tensor"]
    ) -> None:
        assert signature.inputs is not None
        assert signature.outputs is not None
        self.signature = signature
        self._forward = forward
        self._memory = of_tensors(weights)
        self._inputs = [(name, _reader(spec, device, copies)) for name, spec in signature.inputs.items()]
        self._outputs = [(name, _writer(spec, device)) for name, spec in signature.outputs.items()]
        torch = require("torch", "torch")
        self._tensor_type = torch.Tensor
        self._inference = torch.inference_mode()

    def __call__(self, rows: Rows) -> Rows:
        """Run the model without gradients."""
        tensors = [read(rows[name]) for name, read in self._inputs]
        with self._inference:
            result = self._forward(*tensors)
        if isinstance(result, self._tensor_type):
            result = (result,)
        elif isinstance(result, dict):
            return {name: write(result[name]) for name, write in self._outputs}
        return {name: write(tensor) for (name, write), tensor in zip(self._outputs, result, strict=True)}

    def memory(self) -> Memory:
        """Bytes of its weights; what describes the model comes on top, up to 0.2 MB."""
        return self._memory

    def close(self) -> None:
        """Drop the model; its memory is freed with the last reference."""
        del self._forward


def prepare(options: LoadOptions) -> None:
    """Set this process's threads and its share of the GPU. Raises ModelError if there is no such GPU."""
    torch = require("torch", "torch")
    torch.set_num_threads(options.threads)
    if not options.device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise ModelError(f"device {options.device}: torch {torch.__version__} sees no GPU; use device cpu")
    if options.gpu_fraction > 0:
        torch.cuda.set_per_process_memory_fraction(options.gpu_fraction, options.device)


def from_module(folder: Path, module: Any, parameters: list[str], manifest: Manifest, device: str) -> TorchServable:
    """A servable over an `nn.Module` whose signature is in the manifest. Raises ModelError where it doesn't fit.

    With one input its name is free; several go to the parameters of `forward` that have their names.
    """
    signature = resolve(folder, manifest, None, None)
    inputs, outputs = signature.inputs or {}, signature.outputs or {}
    if len(inputs) > 1:
        given = [name for name in parameters if name in inputs]
        if len(given) != len(inputs) or given != parameters[: len(given)]:
            raise ModelError(f"{folder}: inputs {', '.join(inputs)}, but forward takes {', '.join(parameters)}")
        inputs = {name: inputs[name] for name in given}
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    try:
        untouched = trial(module, inputs, outputs, device)
    except ModelError as error:
        raise ModelError(f"{folder}: {error.message}") from error
    except Exception as error:  # the user's forward
        raise ModelError(f"{folder}: two rows of zeros fail: {one_line(error)}") from error
    weights = [*module.parameters(), *module.buffers()]
    return TorchServable(module, Signature(inputs=inputs, outputs=outputs), device, not untouched, weights)


def datatype_of(dtype: "torch.dtype") -> Datatype:
    """The v2 datatype of a torch dtype. Raises ModelError for those that have none (complex, float8, …)."""
    name = str(dtype).removeprefix("torch.")
    if name == "bfloat16":
        return Datatype.BF16
    try:
        return Datatype.of(np.empty(0, np.dtype(name)))
    except TypeError:
        raise ModelError(f"tensors of {dtype} cannot be served; cast them inside the model") from None


def trial(forward: Forward, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], device: str) -> bool:
    """Run two rows of zeros and compare the outputs with what the manifest says; whether the inputs stayed unwritten.

    Raises ModelError on any difference. Free dimensions besides the rows make zeros meaningless (an image
    of 1 × 1), so such a model is not tried; then nothing is known, and the answer is False.
    """
    if any(-1 in spec.shape[1:] for spec in inputs.values()):
        return False
    torch = require("torch", "torch")
    tensors = [
        _reader(spec, device, False)(np.zeros((2, *spec.shape[1:]), spec.datatype.dtype)) for spec in inputs.values()
    ]
    with torch.inference_mode():
        result = forward(*tensors)
    for name, tensor in _named(result, list(outputs)).items():
        found = TensorSpec(datatype=datatype_of(tensor.dtype), shape=(-1, *tensor.shape[1:]))
        if not outputs[name].fits(found) or tensor.shape[0] != 2:
            raise ModelError(
                f"output {name} is written as {outputs[name]}, but two rows gave {list(tensor.shape)} of {tensor.dtype}"
            )
    return all(tensor._version == 0 for tensor in tensors)


def _named(result: Any, names: list[str]) -> dict[str, "Tensor"]:
    torch = require("torch", "torch")
    if isinstance(result, dict):
        found = result
    else:
        tensors = [result] if isinstance(result, torch.Tensor) else list(result)
        found = dict(zip(names, tensors, strict=False)) if len(tensors) == len(names) else dict(enumerate(tensors))
    if set(found) != set(names) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(
            f"the model returns {', '.join(map(str, found))}; it must return the tensors {', '.join(names)}"
        )
    return found


def _reader(spec: TensorSpec, device: str, copies: bool) -> Callable[[np.ndarray], "Tensor"]:
    torch = require("torch", "torch")
    if spec.datatype is Datatype.BYTES:
        raise ModelError("a PyTorch model takes no BYTES; decode them in a node before it")
    from_numpy, from_dlpack = torch.from_numpy, torch.from_dlpack

    def copy(array: np.ndarray) -> "Tensor":
        return from_numpy(array.copy())

    def view(array: np.ndarray) -> "Tensor":
        flags = array.flags
        if flags.carray:  # contiguous, aligned and writable
            return from_numpy(array)
        # from_numpy warns of arrays that cannot be written; DLPack takes them as they are
        return from_dlpack(array) if flags.c_contiguous and flags.aligned else copy(array)

    read = copy if copies else view
    if spec.datatype is Datatype.BF16:  # NumPy's bfloat16 is ml_dtypes', which torch does not know
        return lambda array: read(array.view(np.int16)).view(torch.bfloat16).to(device)
    return read if device == "cpu" else lambda array: read(array).to(device)


def _writer(spec: TensorSpec, device: str) -> Callable[["Tensor"], np.ndarray]:
    torch = require("torch", "torch")
    if spec.datatype is Datatype.BF16:
        return lambda tensor: tensor.cpu().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    if device == "cpu":
        return torch.Tensor.numpy  # type: ignore[no-any-return]
    return lambda tensor: tensor.cpu().numpy()
