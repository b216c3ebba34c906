"""Store the weights of a PyTorch program's large linear layers in the order that the CPU's kernels read them."""

from typing import TYPE_CHECKING, Any

from servables.extras import require

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

_LARGE = 1 << 18
"""Elements of a weight from which it pays: below, oneDNN's setting up costs more than the packing it saves."""


def prepack(module: "GraphModule", weights: list["Tensor"]) -> list["Tensor"]:
    """Rewrite `module`'s large FP32 linear layers for oneDNN; the weights to call it with, the packed ones replaced.

    `aten.linear` packs its weight anew in every call: sixteen rows of a 2048 × 2048 layer take half as long without.
    It is what TorchInductor does when it freezes a program (`torch/_inductor/fx_passes/mkldnn_fusion.py`).

    Args:
        module: an exported program's graph; its first placeholders are the weights.
        weights: the tensors of those placeholders, on the CPU.
    """
    torch = require("torch", "torch")
    if not torch.backends.mkldnn.is_available():
        return weights
    placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
    packed = list(weights)
    for i, (weight, placeholder) in enumerate(zip(weights, placeholders, strict=False)):
        layers = list(placeholder.users)
        if weight.numel() < _LARGE or not layers or not all(_is_plain(layer, placeholder) for layer in layers):
            continue
        packed[i] = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        for layer in layers:
            bias = layer.args[2] if len(layer.args) > 2 else None
            layer.target = torch.ops.mkldnn._linear_pointwise.default
            layer.args = (*layer.args[:2], bias, "none", [], "")
    module.recompile()
    return packed


def _is_plain(layer: Any, weight: Any) -> bool:
    """Whether `layer` is a linear layer in FP32 on inputs with rows, with a number for each output as its bias or none,
    and `weight` its weight and nothing else."""
    torch = require("torch", "torch")
    if layer.target != torch.ops.aten.linear.default or layer.kwargs or layer.args[1] is not weight:
        return False
    x, _, bias = (*layer.args, None)[:3]
    if weight in (x, bias):
        return False
    tensors = [node.meta["val"] for node in (x, weight, bias) if node is not None]
    if any(tensor.dtype != torch.float32 for tensor in tensors):
        return False
    outputs = weight.meta["val"].shape[:-1]
    return x.meta["val"].dim() > 1 and len(outputs) == 1 and (bias is None or tensors[2].shape == outputs)
