"""Calls the stage of a `models` node: each row's model is at one of its replicas, or at few."""

import asyncio
from functools import lru_cache

import numpy as np
from ray.serve.handle import DeploymentHandle

from configs.errors import InvalidInput, MillraceError, RequestError, RowErrors
from configs.graph import MODEL
from configs.tensors import Rows
from deployments.hop import Answer, StageCall, joined
from graphs.terms import UNHURRIED, Terms
from servables.shelf import check_asked, name_in

KNOWN = 1000
"""Models whose way is remembered."""
MOST_MODELS = 100
"""That the rows of one request may name: each is a call of its own."""


class ModelsCall:
    """As `deployments.hop.StageCall`; the rows of each model go in messages of their own, at the same time."""

    version = ""

    def __init__(self, node: str, handle: DeploymentHandle, idempotent: bool = True) -> None:
        self._node = node
        self._stage = lru_cache(KNOWN)(StageCall(node, handle, idempotent).session)

    async def __call__(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> Answer:
        """Outputs of the node for `count` rows, in their order.

        Raises:
            RowErrors: rows name several models, some of which are unknown or refuse their rows.
            MillraceError: as `StageCall`.
        """
        rows_of = _rows_of(rows[MODEL])
        if len(rows_of) == 1:
            return await self._stage(check_asked(next(iter(rows_of))))(rows, count, terms)
        if len(rows_of) > MOST_MODELS:
            raise InvalidInput(f"the rows name {len(rows_of)} models; send requests of at most {MOST_MODELS}")
        parts = [np.array(part) for part in rows_of.values()]
        calls = [self._part(model, rows, part, terms) for model, part in zip(rows_of, parts, strict=True)]
        answers = await asyncio.gather(*calls)
        return self._together(count, parts, answers)

    async def _part(self, model: str, rows: Rows, part: np.ndarray, terms: Terms) -> Answer | MillraceError:
        own = {name: array[part] for name, array in rows.items()}
        try:
            return await self._stage(check_asked(model))(own, len(part), terms)
        except MillraceError as error:
            return error

    def _together(self, count: int, parts: list[np.ndarray], answers: list[Answer | MillraceError]) -> Answer:
        for answer in answers:
            if isinstance(answer, MillraceError) and not isinstance(answer, RequestError):
                raise answer  # nobody's rows are at fault
        reasons: dict[int, str] = {}
        good: list[tuple[np.ndarray, Answer]] = []
        for part, answer in zip(parts, answers, strict=True):
            if isinstance(answer, MillraceError):
                own = (
                    answer.reasons if isinstance(answer, RowErrors) else dict.fromkeys(range(len(part)), answer.message)
                )
                reasons |= {int(part[row]): why for row, why in own.items()}
            else:
                good.append((part, answer))
        if reasons:
            raise RowErrors(reasons)
        order = np.argsort(np.concatenate([part for part, _ in good]))
        outputs, timing = joined(self._node, [answer for _, answer in good])
        return {name: value[order] for name, value in outputs.items()}, timing


def _rows_of(column: np.ndarray) -> dict[str, list[int]]:
    """Model → its rows. Raises InvalidInput for what is no column of names."""
    if column.ndim != 1:
        raise InvalidInput(f"input {MODEL} has the shape {list(column.shape)}; give one name a row")
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(column):
        rows_of.setdefault(name_in(name), []).append(row)
    return rows_of
