"""Which versions of a servable are in: the newest, all, those that are listed, or the one with an alias."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from configs.frozen import Frozen

Number = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Versions(Frozen):
    """Which versions of a servable are brought up; the newest of them that works gets the traffic."""

    latest: int | None = Field(
        None, ge=1, description="The so many newest that work; 1 if no other of these rules is given."
    )
    all: bool = Field(False, description="Every version that is published.")
    only: list[Number] | None = Field(None, min_length=1, description="These numbers, where they are published.")
    alias: str | None = Field(
        None,
        min_length=1,
        description="The version that this alias of an MLflow registry names; the traffic moves with the alias.",
    )
    keep: int = Field(
        0,
        ge=0,
        description="So many that had the traffic before stay loaded, for a rollback at once; each takes memory.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in ("latest", "all", "only", "alias") if getattr(self, way)]
        if len(given) > 1:
            raise ValueError(f"give one of latest, all, only and alias; this has {' and '.join(given)}")
        return self

    @property
    def newest(self) -> int | None:
        """How many of the newest are in; None where another rule says it."""
        return None if self.all or self.only or self.alias else self.latest or 1
