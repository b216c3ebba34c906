"""Text that came as bytes."""

import numpy as np
import pytest

from configs.errors import RowErrors
from servables.texts import decoded


def test_texts_keep_their_shape() -> None:
    found = decoded("x", np.array([[b"a", "größer".encode()], [b"", "c"]], object))
    assert found.tolist() == [["a", "größer"], ["", "c"]]
    assert decoded("x", np.empty((0, 2), object)).shape == (0, 2)


def test_only_the_rows_that_are_no_text_are_to_blame() -> None:
    with pytest.raises(RowErrors) as raised:
        decoded("x", np.array([[b"a", b"b"], [b"c", b"\xff"], [b"\x80", b""]], object))
    assert sorted(raised.value.reasons) == [1, 2]
    assert raised.value.reasons[1].startswith("x: 'utf-8' codec can't decode byte 0xff in position 0")
    with pytest.raises(RowErrors, match="row 1: x: "):
        decoded("x", np.array([b"a", b"\xff"], object))
