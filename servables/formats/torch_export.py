"""PyTorch programs exported by `torch.export`: one .pt2 file, which carries its own signature."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import InvalidInput, ModelError
from configs.tensors import TensorSpec
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import matching, one_line, only_file
from servables.manifest import Manifest, read_manifest, resolve
from servables.pt2_archive import load_program
from servables.torch_prepack import prepack
from servables.torch_servable import TorchServable, datatype_of, prepare

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

NAME = "torch"
PATTERNS = ("*.pt2",)


def matches(folder: Path) -> bool:
    """Whether a .pt2 file lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Load the exported program. Raises ModelError, also for a fixed number of rows or a program in training mode."""
    torch = require("torch", "torch")
    prepare(options)
    path = only_file(folder, PATTERNS)
    try:
        program = load_program(path)
    except ModelError:
        raise
    except Exception as error:  # a damaged archive fails anywhere between zip, JSON and the graph's checks
        raise ModelError(f"{path} is not a program saved by torch.export.save: {one_line(error)}") from error
    _refuse_training(path, program)
    if options.device != "cpu":
        program = require("torch.export.passes", "torch").move_to_device_pass(program, torch.device(options.device))
    inputs = {node.name: _spec(path, f"input {node.name}", node.meta["val"]) for node in _user_inputs(path, program)}
    manifest = read_manifest(folder)
    signature = resolve(folder, manifest, inputs, _outputs(path, program, manifest))
    ordered = signature.model_copy(update={"inputs": {name: (signature.inputs or {})[name] for name in inputs}})
    forward, weights = _forward(path, program, options.device)
    return TorchServable(forward, ordered, options.device, _writes(program), weights)


def _forward(path: Path, program: "ExportedProgram", device: str) -> tuple[Callable[..., Any], list["torch.Tensor"]]:
    """The bare generated code with the weights bound, and these: a quarter of `program.module()`'s time if small."""
    state = []
    for spec in program.graph_signature.input_specs:
        if spec.kind.name == "USER_INPUT":
            continue
        where = program.state_dict if spec.target in program.state_dict else program.constants
        state.append(where[str(spec.target)].detach())
    if device == "cpu":
        state = prepack(program.graph_module, state)
    forward = partial(program.graph_module.forward, *state)
    most = min((_most_rows(path, program, node) for node in _user_inputs(path, program)), default=None)
    return forward if most is None or most == float("inf") else partial(_bounded, forward, int(most)), state


def _bounded(forward: Callable[..., Any], most: int, *tensors: "torch.Tensor") -> Any:
    if tensors[0].shape[0] > most:
        raise InvalidInput(f"{tensors[0].shape[0]} rows; the model was exported for at most {most} rows a call")
    return forward(*tensors)


def _user_inputs(path: Path, program: "ExportedProgram") -> list[Any]:
    specs = program.graph_signature.input_specs
    kinds = [spec.kind.name for spec in specs]
    count = kinds.count("USER_INPUT")
    known = {"PARAMETER", "BUFFER", "CONSTANT_TENSOR", "USER_INPUT"}
    if set(kinds) - known or "USER_INPUT" in kinds[: len(kinds) - count]:
        raise ModelError(f"{path}: the program takes {sorted(set(kinds) - known)}; export one that takes tensors only")
    return [node for node in program.graph.nodes if node.op == "placeholder"][len(kinds) - count :]


def _spec(path: Path, what: str, value: Any) -> TensorSpec:
    shape = getattr(value, "shape", None)
    if shape is None or len(shape) == 0:
        raise ModelError(f"{path}: {what} is {value!r}, not a tensor with rows")
    if isinstance(shape[0], int):
        remedy = "export with dynamic_shapes={<input>: {0: torch.export.Dim('rows')}}"
        raise ModelError(f"{path}: {what} has a fixed number of rows ({shape[0]}); {remedy}")
    sizes = tuple(size if isinstance(size, int) else -1 for size in shape)
    return TensorSpec(datatype=datatype_of(value.dtype), shape=sizes)


def _most_rows(path: Path, program: "ExportedProgram", node: Any) -> float:
    bounds = program.range_constraints.get(node.meta["val"].shape[0].node.expr)
    if bounds is None:
        return float("inf")
    if bounds.lower > 2:  # 2 is what some exports write for "any": they set 0 and 1 apart
        raise ModelError(f"{path} was exported for at least {bounds.lower} rows; leave out `min` of torch.export.Dim")
    return float(bounds.upper)


def _outputs(path: Path, program: "ExportedProgram", manifest: Manifest) -> dict[str, TensorSpec]:
    kinds = {spec.kind.name for spec in program.graph_signature.output_specs}
    if kinds != {"USER_OUTPUT"}:
        raise ModelError(f"{path}: the program changes its own state; rows of one call must not depend on another's")
    (returned,) = (node for node in program.graph.nodes if node.op == "output")
    values = [getattr(value, "meta", {}).get("val", value) for value in returned.args[0]]
    specs = [_spec(path, f"output {i}", value) for i, value in enumerate(values)]
    tree = program.call_spec.out_spec
    if tree is not None and tree.type is dict and len(tree.context) == len(specs):
        names = list(tree.context)
    elif manifest.outputs is not None and len(manifest.outputs) == len(specs):
        names = list(manifest.outputs)
    else:
        names = ["output"] if len(specs) == 1 else [f"output_{i}" for i in range(len(specs))]
    return dict(zip(names, specs, strict=True))


def _calls(program: "ExportedProgram") -> list[Any]:
    return [node for node in program.graph.nodes if node.op == "call_function" and hasattr(node.target, "_schema")]


def _writes(program: "ExportedProgram") -> bool:
    """Whether any step writes into a tensor, so perhaps into an input; `detach_` writes nothing."""
    return any(node.target._schema.is_mutable and "detach_" not in str(node.target) for node in _calls(program))


def _refuse_training(path: Path, program: "ExportedProgram") -> None:
    for node in _calls(program):
        for position, argument in enumerate(node.target._schema.arguments):
            if argument.name not in ("train", "training"):
                continue
            value = node.args[position] if position < len(node.args) else node.kwargs.get(argument.name)
            if value is True:
                raise ModelError(f"{path} was exported in training mode ({node.target}); call model.eval() before")
