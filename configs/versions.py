"""Which versions of a servable are in: the newest, all, or those that are listed."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from configs.frozen import Frozen

Number = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Versions(Frozen):
    """Which versions of a servable are brought up; the newest of them that works gets the traffic."""

    latest: int | None = Field(
        None, ge=1, description="The so many newest that work; 1 if neither this nor `all` nor `only` is given."
    )
    all: bool = Field(False, description="Every version that is published.")
    only: list[Number] | None = Field(None, min_length=1, description="These numbers, where they are published.")
    keep: int = Field(
        0,
        ge=0,
        description="So many that had the traffic before stay loaded, for a rollback at once; each takes memory.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in ("latest", "all", "only") if getattr(self, way)]
        if len(given) > 1:
            raise ValueError(f"give one of latest, all and only; this has {' and '.join(given)}")
        return self

    @property
    def newest(self) -> int | None:
        """How many of the newest are in; None where another rule says it."""
        return None if self.all or self.only else self.latest or 1
