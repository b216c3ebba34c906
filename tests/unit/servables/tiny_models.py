"""Models small enough to train and export inside a unit test, importable by path."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

PATH = __name__


class Mlp(nn.Module):
    """4 → 16 → classes."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class InPlace(Mlp):
    """Divides its input in place, as much image code does."""

    def forward(self, x: Tensor) -> Tensor:
        x.div_(2.0)
        return self.layers(x)


class TwoWays(nn.Module):
    """Two inputs, two outputs of which one is bfloat16; BatchNorm and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("shift", torch.full((4,), 0.5), persistent=False)

    def forward(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        h = self.norm(x) * scale + self.shift + torch.tensor([1.0, 2.0, 3.0, 4.0])
        return h, h.sum(-1).bfloat16()


class Named(Mlp):
    """Returns a dictionary."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.layers(x)
        return {"probs": logits.softmax(-1), "label": logits.argmax(-1)}


class WholeBatch(Mlp):
    """Not row by row: one answer for all rows."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean(0, keepdim=True)


class Shifted:
    """A Python class that adds what a file of its version folder says."""

    inputs = {"x": ("FP32", [-1, 4])}  # noqa: RUF012
    outputs = {"y": "FP32[-1, 4]"}  # noqa: RUF012
    closed = 0

    def __init__(self, folder: Path, factor: float = 1.0) -> None:
        self.shift = np.float32((folder / "shift.csv").read_text())
        self.factor = np.float32(factor)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x * self.factor + self.shift

    def close(self) -> None:
        Shifted.closed += 1


class Async(Shifted):
    """Belongs into a call node, not into a model."""

    async def __call__(self, x: np.ndarray) -> np.ndarray:
        return x


class Scribbler(Shifted):
    """Keeps a cache where it should not."""

    def __init__(self, folder: Path) -> None:
        (folder / "cache.bin").write_bytes(b"cache")


class Sized(Shifted):
    """One that knows how much it takes."""

    def memory(self) -> int:
        """In bytes."""
        return 12_345
