"""The contract of a servable: what every adapter returns and everything above calls."""

from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from configs.tensors import Rows, Signature


class LoadOptions(BaseModel):
    """What the place where a servable runs decides about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = "cpu"
    """`cpu` or `cuda:0`."""
    gpu_fraction: float = 0.0
    """Share of the GPU's memory the framework may take, 0…1; 0 without a GPU."""
    threads: int = 1
    """Threads of one call inside the framework."""
    keys: tuple[str, ...] = ()
    """Ed25519 public keys in PEM; if there are any, one of them must have signed the version."""
    trust: Literal["pickle"] | None = None
    """`pickle` allows formats that run code when loaded."""
    k: int | None = None
    """Neighbours that a vector index gives for each row, as its node says; None for all else."""


class Servable(Protocol):
    """One loaded version. Called from one thread at a time; never on the event loop."""

    signature: Signature

    def __call__(self, rows: Rows) -> Rows:
        """Compute outputs from inputs, both named arrays with the same leading dimension."""
        ...

    def close(self) -> None:
        """Free what the servable holds."""
        ...


class Adapter(Protocol):
    """A module of `servables/formats/`: one format."""

    NAME: str
    """The format's name, as in a node's `format`."""

    def matches(self, folder: Path) -> bool:
        """Whether this version folder holds this format (by file names only; nothing is loaded)."""
        ...

    def load(self, folder: Path, options: LoadOptions) -> Servable:
        """Load the version. Raises ModelError (names folder, file, reason, remedy) or MissingExtra."""
        ...
