"""A graph's configuration as Triton's clients read it: the fields of its ModelConfig that a graph has.

Spec: "Model Configuration Extension" (Triton) and its `model_config.proto`; the dict is that message's JSON form.
"""

from collections.abc import Mapping
from typing import Any

from configs.tensors import Datatype, Signature, TensorSpec

EXTENSION = "model_configuration"
"""Name of the extension in server metadata."""
BACKEND = "millrace"


def model_config(name: str, signature: Signature, platform: str, max_rows: int, decoupled: bool) -> dict[str, Any]:
    """The document of `GET /v2/models/{name}/config`.

    Args:
        signature: of the graph, known.
        max_rows: most rows in one call of its nodes. A request may have more; clients that measure take it as a limit.
        decoupled: whether one request may have several answers.
    """
    return {
        "name": name,
        "platform": platform,
        "backend": BACKEND,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_rows,
        "input": _tensors(signature.inputs or {}),
        "output": _tensors(signature.outputs or {}),
        "dynamic_batching": {},
        "model_transaction_policy": {"decoupled": decoupled},
    }


def data_type(datatype: Datatype) -> str:
    """The name of a datatype in Triton's configuration, e.g. TYPE_FP32; BYTES is TYPE_STRING there."""
    return "TYPE_STRING" if datatype is Datatype.BYTES else f"TYPE_{datatype.value}"


def _tensors(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    """The dimensions are those of one row: a `max_batch_size` implies the leading one."""
    return [
        {"name": name, "data_type": data_type(spec.datatype), "dims": list(spec.shape[1:])}
        for name, spec in specs.items()
    ]
