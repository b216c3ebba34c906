"""Text of a request, for frameworks that take Python's strings."""

from collections.abc import Iterable

import numpy as np

from configs.errors import RowErrors


def decoded(name: str, array: np.ndarray) -> np.ndarray:
    """The strings of a BYTES input, in its shape.

    Args:
        name: of the input.
        array: bytes in UTF-8, or strings; any shape with rows first.

    Raises:
        RowErrors: names the rows that are not UTF-8.
    """
    try:
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in array.ravel()]
    except UnicodeDecodeError:
        reasons = {row: _reason(values) for row, values in enumerate(array.reshape(len(array), -1))}
        raise RowErrors({row: f"{name}: {why}; send UTF-8" for row, why in reasons.items() if why}) from None
    return np.array(texts, object).reshape(array.shape)


def _reason(values: Iterable[object]) -> str:
    try:
        for value in values:
            if isinstance(value, bytes):
                value.decode()
    except UnicodeDecodeError as error:
        return str(error)
    return ""
