"""`docs/writing-nodes.md`: its code runs, its sessions give what they show, its nodes pass the checks."""

import doctest
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import graphs.nodes
from configs.graph import CallNode, EnsembleNode, SwitchNode, node_class
from graphs.callables import import_callable
from graphs.sequences import STATES

TEXT = (Path(__file__).parents[3] / "docs" / "writing-nodes.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def my_nodes() -> Iterator[ModuleType]:
    module = ModuleType("my_nodes")
    exec("\n".join(blocks("python")), module.__dict__)
    sys.modules["my_nodes"] = module
    yield module
    del sys.modules["my_nodes"]


def test_sessions_give_what_they_show(my_nodes: ModuleType) -> None:
    sessions = blocks("pycon")
    assert len(sessions) == 8
    flags = doctest.IGNORE_EXCEPTION_DETAIL
    for number, session in enumerate(sessions):
        test = doctest.DocTestParser().get_doctest(session, dict(my_nodes.__dict__), f"session {number}", None, 0)
        report: list[str] = []
        result = doctest.DocTestRunner(verbose=False, optionflags=flags).run(test, out=report.append)
        assert result.failed == 0, "".join(report)


def test_nodes_in_yaml_are_what_the_schema_and_the_code_take(my_nodes: ModuleType) -> None:
    nodes = {name: fields for block in blocks("yaml") for name, fields in yaml.safe_load(block).items()}
    assert len(nodes) == 11
    for name, fields in nodes.items():
        node = node_class(fields).model_validate(fields)
        match node:
            case CallNode():
                states = {STATES: ()} if node.sequences else {}
                problems = import_callable(node.call).problems({**node.inputs, **states}, node.with_)
            case SwitchNode():
                problems = import_callable(node.switch).problems(node.inputs, node.with_)
            case EnsembleNode():
                problems = import_callable(node.ensemble).problems({"members": []}, {})
            case _:
                problems = [f"no check for {type(node).__name__}"]
        assert not problems, name


def test_class_has_what_the_page_says(my_nodes: ModuleType) -> None:
    lines = my_nodes.Lines(width=8)
    lines.warmup()
    lines.close()
    assert inspect.iscoroutinefunction(my_nodes.greet)


def test_table_of_stock_nodes_is_complete() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*?\| (`.*?) \|[^|]*\|$", TEXT, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(graphs.nodes.__all__)
    for name, cells in rows:
        arguments = re.findall(r"`(\w+)`", cells.split(" | ")[-1])
        assert arguments == list(inspect.signature(getattr(graphs.nodes, name)).parameters)
