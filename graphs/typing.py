"""Carry datatypes and shapes along the edges, and say where they cannot fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from configs.errors import ConfigError
from configs.graph import EnsembleNode, SwitchNode
from configs.tensors import Signature, TensorSpec
from graphs.ensembles import OUTPUT_OF, output_specs
from graphs.flat import CASE, Edge, FlatGraph, FlatNode

Complaint = tuple[str, str, str]
"""Node (or `""` for the graph), the field inside it, and what is wrong."""

SignatureOf = Callable[[FlatNode], Signature]


@dataclass
class TypedGraph:
    """What is known of each edge, and every complaint found on the way."""

    specs: dict[Edge, TensorSpec]
    complaints: list[Complaint]


def infer(graph: FlatGraph, order: list[str], signature_of: SignatureOf) -> TypedGraph:
    """Type every edge that can be typed.

    Args:
        signature_of: what a node's code or artifact declares; None fields where it does not say.
    """
    typed = TypedGraph({Edge("", name): spec for name, spec in graph.inputs.items()}, [])
    for name in order:
        _type_node(graph, graph.nodes[name], signature_of(graph.nodes[name]), typed)
    for name, edge in graph.outputs.items():
        _check_exists(graph, typed, edge, "", f"outputs.{name}")
    for border in graph.borders:
        given = typed.specs.get(border.edge)
        if given is not None and not border.spec.fits(given):
            text = f"the other graph takes {border.spec}, but {border.edge} is {given}"
            typed.complaints.append((border.node, f"inputs.{border.input}", text))
    return typed


def graph_signature(graph: FlatGraph, typed: TypedGraph) -> Signature:
    """The signature clients see. Raises ConfigError for an output whose type nobody declares."""
    unknown = [(name, edge) for name, edge in graph.outputs.items() if edge not in typed.specs]
    if unknown:
        raise ConfigError(
            "\n".join(
                f"graph {graph.name}: output {name}: nothing declares the datatype and shape of {edge}; add "
                f"`outputs: {{{edge.output}: {{datatype: …, shape: [-1, …]}}}}` to node {edge.node}"
                for name, edge in unknown
            )
        )
    return Signature(inputs=graph.inputs, outputs={name: typed.specs[edge] for name, edge in graph.outputs.items()})


def _type_node(graph: FlatGraph, node: FlatNode, signature: Signature, typed: TypedGraph) -> None:
    for input_name, edges in node.inputs.items():
        for edge in edges:
            _check_exists(graph, typed, edge, node.name, f"inputs.{input_name}")
            _check_fits(node, input_name, edge, signature, typed)
    for case, edges_of in node.cases.items():
        for output, edge in edges_of.items():
            _check_exists(graph, typed, edge, node.name, f"cases.{case}.{output}")
    outputs = _outputs(node, signature, typed)
    if outputs is not None:
        typed.specs.update({Edge(node.name, name): spec for name, spec in outputs.items()})
    typed.specs[Edge(node.name, CASE)] = TensorSpec(datatype="INT64", shape=(-1,))  # type: ignore[arg-type]


def _check_fits(node: FlatNode, input_name: str, edge: Edge, signature: Signature, typed: TypedGraph) -> None:
    given = typed.specs.get(edge)
    wanted = (signature.inputs or {}).get(input_name)
    if wanted is not None and given is not None and not wanted.fits(given):
        typed.complaints.append(
            (node.name, f"inputs.{input_name}", f"takes {wanted}, but {edge} is {given}; convert it in a node before")
        )


def _outputs(node: FlatNode, signature: Signature, typed: TypedGraph) -> Mapping[str, TensorSpec] | None:
    declared = signature.outputs
    if isinstance(node.config, EnsembleNode) and node.config.ensemble in OUTPUT_OF:
        declared = _ensemble_outputs(node, node.config, typed)
    elif isinstance(node.config, SwitchNode):
        declared = _switch_outputs(node, typed)
    written = node.config.outputs
    if declared is None or written is None:
        return written if declared is None else declared
    for name, spec in written.items():
        if name not in declared:
            typed.complaints.append((node.name, f"outputs.{name}", f"the node gives {_names(declared)}"))
        elif not spec.fits(declared[name]):
            typed.complaints.append((node.name, f"outputs.{name}", f"says {spec}, but the node gives {declared[name]}"))
    return declared


def _ensemble_outputs(node: FlatNode, config: EnsembleNode, typed: TypedGraph) -> dict[str, TensorSpec] | None:
    members = [typed.specs.get(edge) for edge in node.inputs["members"]]
    known = [spec for spec in members if spec is not None]
    if not known:
        return None
    try:
        outputs = output_specs(config.ensemble, known)
    except ValueError as error:
        typed.complaints.append((node.name, "inputs.members", str(error)))
        return None
    return outputs if len(known) == len(members) else None


def _switch_outputs(node: FlatNode, typed: TypedGraph) -> dict[str, TensorSpec] | None:
    outputs: dict[str, TensorSpec] = {}
    complete = True
    for case, edges in node.cases.items():
        for name, edge in edges.items():
            spec = typed.specs.get(edge)
            if spec is None:
                complete = False
            elif name in outputs and not outputs[name].fits(spec):
                typed.complaints.append(
                    (node.name, f"cases.{case}.{name}", f"is {spec}, but another case gives {outputs[name]}")
                )
            else:
                outputs.setdefault(name, spec)
    return outputs if complete else None


def _check_exists(graph: FlatGraph, typed: TypedGraph, edge: Edge, node: str, field: str) -> None:
    """An edge whose node's outputs are known must be one of them; the node itself was found before."""
    if edge in typed.specs or edge.node == "":
        return
    outputs = [known.output for known in typed.specs if known.node == edge.node and known.output != CASE]
    if outputs:
        typed.complaints.append((node, field, f"{edge.node} has no output {edge.output}; it gives {_names(outputs)}"))


def _names(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(sorted(names))
