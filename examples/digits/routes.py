"""A route of one's own beside the graph's: a page that draws the digit it reads.

Served with `routers: [examples.digits.routes:router]` in the application's `args`.
"""

from typing import Annotated

import numpy as np
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from deployments.routes import LocalGraph, graph

router = APIRouter(prefix="/digits-by-text", tags=["digits"])

_INK = " .:-=+*#%@"
_MOST = 16


class Drawing(BaseModel):
    """Eight lines of eight characters; the darker a character, the more ink."""

    lines: list[Annotated[str, Field(pattern=r"^[ .:=+*#%@-]{8}$")]] = Field(min_length=8, max_length=8)

    def pixels(self) -> np.ndarray:
        """One row for the graph, UINT8 [1, 8, 8] of 0…16."""
        ink = [[_INK.index(character) * _MOST // (len(_INK) - 1) for character in line] for line in self.lines]
        return np.array([ink], np.uint8)


class Reading(BaseModel):
    """What the graph reads in a drawing."""

    digit: int
    score: float


@router.post("")
async def read(drawing: Drawing, digits: Annotated[LocalGraph, graph("digits")]) -> Reading:
    """Read a digit drawn with characters."""
    outputs = await digits.predict_async(image=drawing.pixels())
    return Reading(digit=int(outputs["label"][0, 0]), score=float(outputs["score"][0, 0]))


@router.get("/ink", response_class=PlainTextResponse)
async def ink() -> str:
    """The characters that drawings are made of, from paper to ink."""
    return _INK
