"""A graph's stages as an SVG picture: nodes in columns by depth, a frame around each process."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from configs.graph import (
    CallNode,
    EnsembleNode,
    LookupNode,
    ModelNode,
    ModelsNode,
    NodeBase,
    RetrieveNode,
    SwitchNode,
)
from graphs.explain import kind_of, replica_range
from graphs.flat import FlatGraph
from graphs.plan import Plan

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 150, 46, 70, 40, 30
_COLOURS = {
    CallNode: "#e8eef7",
    ModelNode: "#e3f3e6",
    ModelsNode: "#e3f3e6",
    LookupNode: "#e3f3e6",
    RetrieveNode: "#e3f3e6",
    EnsembleNode: "#fdf1dc",
    SwitchNode: "#f6e6f3",
}


def svg(plan: Plan) -> str:
    """The picture. Placed nodes have a dashed frame of their own; everything else runs in the gateway."""
    graph = plan.graph
    columns = _columns(plan)
    places = _places(graph, columns)
    width = max(x for x, _ in places.values()) + WIDTH + MARGIN
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_arrows(graph, places),
        *(_box(box, *places[box.name]) for box in _boxes(plan)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _columns(plan: Plan) -> dict[str, int]:
    graph = plan.graph
    column = {f"in:{name}": 0 for name in graph.inputs}
    for name in plan.order:
        before = [column.get(edge.node or f"in:{edge.output}", 0) for edge in graph.nodes[name].reads()]
        column[name] = 1 + max(before, default=0)
    last = 1 + max(column.values())
    return column | {f"out:{name}": last for name in graph.outputs}


def _places(graph: FlatGraph, columns: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    by_column: dict[int, list[str]] = {}
    for name, column in columns.items():
        by_column.setdefault(column, []).append(name)
    tallest = max(len(names) for names in by_column.values())
    places: dict[str, tuple[int, int]] = {}
    for column, names in by_column.items():
        top = MARGIN + (tallest - len(names)) * (HEIGHT + GAP_Y) // 2
        for row, name in enumerate(names):
            places[name] = (MARGIN + column * (WIDTH + GAP_X), top + row * (HEIGHT + GAP_Y))
    return places


@dataclass(frozen=True)
class _Box:
    name: str
    label: str
    text: str
    colour: str = "#ffffff"
    stage: str = ""
    """What a stage of its own has; empty for what runs in the gateway."""


def _boxes(plan: Plan) -> list[_Box]:
    graph = plan.graph
    boxes = [_Box(f"in:{name}", name, str(spec)) for name, spec in graph.inputs.items()]
    for name in plan.order:
        config = graph.nodes[name].config
        text = kind_of(config).replace(":", "/").rpartition("/")[2]
        boxes.append(_Box(name, name, text, _COLOURS[type(config)], _stage(config) if name in plan.placed else ""))
    return boxes + [_Box(f"out:{name}", name, "output") for name in graph.outputs]


def _stage(config: NodeBase) -> str:
    gpus = f"{config.gpus:g} GPU · " if config.gpus else ""
    return f"stage · {gpus}{replica_range(config)} replicas"


def _box(box: _Box, x: int, y: int) -> str:
    shown = box.text if len(box.text) <= 25 else box.text[:24] + "…"
    middle = x + WIDTH // 2
    return (
        (_frame(box.stage, x, y) if box.stage else "")
        + f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{box.colour}" stroke="#667"/>'
        f'<text x="{middle}" y="{y + 19}" text-anchor="middle" font-weight="600">{escape(box.label)}</text>'
        f'<text x="{middle}" y="{y + 35}" text-anchor="middle" fill="#556" font-size="10">{escape(shown)}</text>'
    )


def _frame(stage: str, x: int, y: int) -> str:
    return (
        f'<rect x="{x - 8}" y="{y - 8}" width="{WIDTH + 16}" height="{HEIGHT + 16}" rx="10" fill="none" '
        f'stroke="#b55" stroke-dasharray="5 4"/>'
        f'<text x="{x + WIDTH // 2}" y="{y + HEIGHT + 20}" text-anchor="middle" fill="#b55" font-size="10">'
        f"{escape(stage)}</text>"
    )


def _arrows(graph: FlatGraph, places: Mapping[str, tuple[int, int]]) -> list[str]:
    pairs = [(edge.node or f"in:{edge.output}", name) for name, node in graph.nodes.items() for edge in node.reads()]
    pairs += [(edge.node or f"in:{edge.output}", f"out:{name}") for name, edge in graph.outputs.items()]
    arrows = []
    for source, target in dict.fromkeys(pairs):
        (x1, y1), (x2, y2) = places[source], places[target]
        start, end = x1 + WIDTH, x2
        middle = (start + end) // 2
        y1, y2 = y1 + HEIGHT // 2, y2 + HEIGHT // 2
        path = f"M{start},{y1} C{middle},{y1} {middle},{y2} {end},{y2}"
        arrows.append(f'<path d="{path}" fill="none" stroke="#667" marker-end="url(#tip)"/>')
    return arrows
