"""Reads a graph's YAML file into a `GraphConfig`, and reports every mistake at once."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from configs.documents import Document, Texts, load_document, locate
from configs.graph import GraphConfig
from configs.problems import config_error
from configs.translate import translate

__all__ = ["Document", "graph_json_schema", "load_document", "load_graph", "locate", "parse_graph"]


def load_graph(path: Path, texts: Texts = MappingProxyType({})) -> GraphConfig:
    """Read and validate a graph's YAML file. Graphs that it names (`graph: …`) and models are not opened.

    Raises ConfigError with one line for each problem: `file:line: field.path: what is wrong (value …); remedy`.
    """
    return parse_graph(load_document(path, texts))


def parse_graph(document: Document) -> GraphConfig:
    """Validate a document as a graph. Raises ConfigError as `load_graph` does."""
    problems = list(document.problems)
    try:
        graph = GraphConfig.model_validate(document.data)
    except ValidationError as error:
        problems += translate(error, GraphConfig, document)
    if problems:
        raise config_error(problems)
    return graph


def graph_json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a graph's YAML file, for editors."""
    schema = GraphConfig.model_json_schema()
    _close(schema)
    definitions = schema["$defs"]
    shape = definitions["TensorSpec"]["properties"]["shape"]
    pair = {"type": "array", "prefixItems": [{"$ref": "#/$defs/Datatype"}, shape], "minItems": 2, "maxItems": 2}
    compact = {"type": "string", "pattern": r"^\s*[A-Z0-9]+\s*\[[-0-9,\s]*\]\s*$", "examples": ["FP32[-1, 10]"]}
    definitions["TensorSpec"] = {"anyOf": [definitions["TensorSpec"], compact, pair]}
    definitions["Replicas"] = {"anyOf": [definitions["Replicas"], {"type": "integer", "minimum": 1}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Millrace graph"}


def _close(schema: Any) -> None:
    """Forbid names that no pattern allows; pydantic checks them, but leaves them open in its JSON Schema."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close(value)
    elif isinstance(schema, list):
        for value in schema:
            _close(value)
