"""What a node may ask for beside its work: replicas, batching, a cache, a fallback, sequences."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from configs.frozen import Frozen

Callable_ = Annotated[
    str,
    Field(
        pattern=r"^[a-zA-Z_][\w.]*:[a-zA-Z_][\w.]*$",
        description="Import path `package.module:name`.",
    ),
]


class Replicas(Frozen):
    """How many processes serve a placed node; Serve scales between `min` and `max` by load."""

    min: int = Field(1, ge=1, description="Fewest replicas.")
    max: int = Field(1, ge=1, description="Most replicas.")
    target_ongoing_requests: float = Field(
        8, gt=0, description="Requests in flight per replica that autoscaling aims at."
    )
    upscale_delay_s: float = Field(10, ge=0, description="Seconds of high load before replicas are added.")
    downscale_delay_s: float = Field(120, ge=0, description="Seconds of low load before replicas are removed.")

    @model_validator(mode="before")
    @classmethod
    def _from_int(cls, value: Any) -> Any:
        return {"min": value, "max": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class Batch(Frozen):
    """How rows of concurrent requests are gathered for one call."""

    max_rows: int = Field(64, ge=1, description="Most rows in one call.")
    p99_ms: float | None = Field(
        None,
        gt=0,
        description="Objective for waiting and call together, met by 99 of 100 calls: the number of rows, up to "
        "`max_rows`, is then found while serving.",
    )
    max_wait_s: float = Field(
        10, gt=0, description="What would wait longer than this for the node is refused at once, with 503."
    )


class Cache(Frozen):
    """Remembered answers of a node, row by row."""

    ttl_s: float = Field(300, gt=0, description="Seconds that an answer is good for.")
    max_bytes: int = Field(64 << 20, ge=1, description="Most bytes of answers in one process; 64 MiB by default.")
    store: str = Field(
        "memory",
        pattern=r"^(memory|(rediss?|unix)://.+)$",
        description="`memory`, or behind it a Redis that processes share: `redis://host:port/0` (extra `redis`).",
    )
    key: str = Field(
        "", description="Any text, part of every key: change it when the node's code changes and Redis still remembers."
    )


class Fallback(Frozen):
    """What answers for a node whose tries all failed: it takes the same inputs and gives the same outputs."""

    constant: dict[str, Any] | None = Field(None, min_length=1, description="Output name → value of one row.")
    call: Callable_ | None = Field(None, description="As of a `call` node; in the gateway, synchronous.")
    with_: dict[str, Any] = Field(default_factory=dict, alias="with", description="Arguments of `call`.")
    model: str | None = Field(
        None, min_length=1, description="As of a `model` node, for a `retrieve` node of an index; in the gateway."
    )
    version: int | None = Field(None, ge=0, description="A fixed version of `model` instead of the newest.")
    trust: Literal["pickle"] | None = Field(None, description="As of a `model` node.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in ("constant", "call", "model") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of constant, call and model; this has {' and '.join(given) or 'none'}")
        return self


class Sequences(Frozen):
    """State that a node keeps between the requests of one sequence."""

    idle_s: float = Field(60, gt=0, description="A sequence that hears nothing for so many seconds has ended.")
    max_open: int = Field(10_000, ge=1, description="Most open sequences of one replica.")
