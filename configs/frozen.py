"""What all parts of a schema have in common."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of a schema: unknown keys are refused, and nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid")
