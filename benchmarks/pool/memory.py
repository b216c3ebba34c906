"""The command `python -m benchmarks.pool.memory FOLDER…`: what models say that they take, and what they take."""

import ctypes
import gc
from pathlib import Path
from typing import NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from servables.base import LoadOptions, Servable
from servables.load import load_servable
from servables.memory import files_memory, memory_of

COPIES = 5
OPTIONS = LoadOptions(trust="pickle")


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later."""

    _fields_ = [(f"before{i}", ctypes.c_size_t) for i in range(4)] + [
        (name, ctypes.c_size_t) for name in ("hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


class Sizes(NamedTuple):
    """Bytes of one copy of a model."""

    files: int
    told: int
    allocated: int
    """What glibc's allocator has given out for it. Python's objects are not in it, memory that is not touched is."""
    resident: int
    """By how much the process grew with the first copy."""


def measure(folder: Path) -> Sizes:
    """Load a model several times; once before, for what its library sets up."""
    before = _resident()
    held: list[Servable] = [load_servable(folder, OPTIONS)]
    resident = _resident() - before
    gc.collect()
    allocated = _allocated()
    held.extend(load_servable(folder, OPTIONS) for _ in range(COPIES))
    gc.collect()
    grown = (_allocated() - allocated) // COPIES
    return Sizes(files_memory(folder).host, memory_of(held[0], folder).host, grown, resident)


def main(folders: list[Path]) -> None:
    """A row for each version folder, in kilobytes. On Linux with glibc, in a process that does nothing else."""
    table = Table("model", "files", "told", "allocated", "told / allocated", "resident")
    for folder in folders:
        load_servable(folder, OPTIONS).close()
        sizes = measure(folder)
        files, told, allocated, resident = (f"{size / 1e3:,.0f}" for size in sizes)
        table.add_row(str(folder), files, told, allocated, f"{sizes.told / max(sizes.allocated, 1):.2f}", resident)
    Console(width=120).print(table)


def _allocated() -> int:
    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = _Mallinfo2
    found = libc.mallinfo2()
    return int(found.uordblks + found.hblkhd)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    typer.run(main)
