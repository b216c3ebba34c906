"""How many bytes a loaded model takes: what its adapter can tell, or else the size of its files."""

import io
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from servables.base import Servable
from servables.files import artifact, tree

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, of the host's memory and of the GPU's."""

    host: int = 0
    gpu: int = 0

    def __add__(self, other: Self) -> "Memory":
        return Memory(self.host + other.host, self.gpu + other.gpu)

    def __sub__(self, other: Self) -> "Memory":
        return Memory(self.host - other.host, self.gpu - other.gpu)

    def __str__(self) -> str:
        host = f"{self.host / 1e6:,.1f} MB of the host's memory"
        return f"{host} and {self.gpu / 1e6:,.1f} MB of the GPU's" if self.gpu else host

    def fits(self, limit: "Memory") -> bool:
        """Whether neither is more than in `limit`."""
        return self.host <= limit.host and self.gpu <= limit.gpu

    def beyond(self, limit: "Memory") -> "Memory":
        """By how much each is more than in `limit`."""
        return Memory(max(self.host - limit.host, 0), max(self.gpu - limit.gpu, 0))

    def eases(self, shortage: "Memory") -> bool:
        """Whether there is any of that of which there is too little."""
        return min(self.host, shortage.host) > 0 or min(self.gpu, shortage.gpu) > 0


@runtime_checkable
class Measured(Protocol):
    """A servable that knows how much it takes."""

    def memory(self) -> Memory:
        """Bytes that closing it frees. What a call needs for a moment is not among them."""
        ...


def memory_of(servable: Servable, folder: Path, device: str = "cpu") -> Memory:
    """Bytes of a loaded model: what it tells, or the size of its version's files.

    The growth of the process is not asked: it is wrong by what other loads and requests take and free meanwhile, and
    nothing at all where the allocator had kept memory. What models tell was compared with what glibc's allocator gave
    out for them (`python -m benchmarks.pool.memory`). From a megabyte on it is 0.8 to 1.1 times that, for LightGBM
    1.5 times. Smaller ones take up to 0.2 MB more than they tell. Files alone are wrong by up to five times.
    """
    return servable.memory() if isinstance(servable, Measured) else files_memory(folder, device)


def files_memory(folder: Path, device: str = "cpu") -> Memory:
    """What a model is expected to take before it was ever loaded: as much as its files. Raises ModelError."""
    size = sum(artifact(tree(folder)).values())
    return Memory(host=size) if device == "cpu" else Memory(gpu=size)


def of_tensors(tensors: Iterable["Tensor"]) -> Memory:
    """Bytes of PyTorch tensors; what several share is counted once."""
    sizes: dict[tuple[str, int], int] = {}
    for number, tensor in enumerate(tensors):
        opaque = tensor.is_mkldnn  # packed for oneDNN: it shows no storage
        place = -number - 1 if opaque else tensor.untyped_storage().data_ptr()
        size = tensor.numel() * tensor.element_size() if opaque else tensor.untyped_storage().nbytes()
        sizes[tensor.device.type, place] = size
    host = sum(size for (device, _), size in sizes.items() if device == "cpu")
    return Memory(host, sum(sizes.values()) - host)


def of_arrays(estimator: Any) -> Memory:
    """Bytes of an object that consists of arrays, as scikit-learn's do: those that pickling it would write.

    The arrays themselves are not copied: 4 ms for a forest of 9 MB.
    """
    counter = _Counter()
    pickle.Pickler(counter, 5, buffer_callback=counter.add).dump(estimator)
    return Memory(host=counter.size)


class _Counter(io.RawIOBase):
    """A file that counts what is written, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self.size += size
        return size

    def add(self, buffer: pickle.PickleBuffer) -> None:
        """Count an array that pickle hands over instead of writing it."""
        self.size += buffer.raw().nbytes
