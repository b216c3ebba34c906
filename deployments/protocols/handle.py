"""What handles send: arrays, checked like the requests of every other door."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.errors import InvalidInput
from configs.tensors import Datatype, Rows, Signature
from deployments.protocols.binary import as_bytes
from deployments.protocols.request import InferRequest, check_rows


def decode(rows: Rows, graph: str, signature: Signature) -> InferRequest:
    """A checked request from named arrays; text in BYTES inputs is encoded as UTF-8. Raises InvalidInput."""
    inputs = signature.inputs or {}
    rows = dict(rows)  # the caller's stays as it is
    check_rows(rows, inputs)
    checked = {
        name: _encoded(name, array) if inputs[name].datatype is Datatype.BYTES else array
        for name, array in rows.items()
    }
    return InferRequest(graph, "", "", checked, {}, None, False)


def arrays(values: Mapping[str, Any], signature: Signature) -> Rows:
    """Arrays of named values; lists become arrays of the inputs' datatypes. Raises InvalidInput."""
    specs = signature.inputs or {}
    rows: Rows = {}
    for name, value in values.items():
        if isinstance(value, np.ndarray) or name not in specs:
            rows[name] = np.asarray(value)
            continue
        datatype: Datatype = specs[name].datatype
        try:
            rows[name] = np.asarray(value, datatype.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"input {name}: not {datatype} values: {error}") from None
    return rows


def _encoded(name: str, array: np.ndarray) -> np.ndarray:
    try:
        return as_bytes(array)
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidInput(f"input '{name}': {error}") from None
