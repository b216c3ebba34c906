"""The graph `users`: a lookup whose rows tell its version, and a live node for users that it does not have."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import yaml

from servables.files import DIGESTS
from servables.lookup_file import FILE, write_lookup
from servables.push import push_model

KNOWN, UNKNOWN = 7, 5_000
LIVE = -1.0
"""What the live node answers."""


def publish(folder: Path, number: int, cut: bool = False) -> None:
    """Push a version, which counts at once; or lay one there that was cut off while it was copied."""
    table = pa.table({"user": range(1_000), "version": pa.array([[float(number)] * 2] * 1_000, pa.list_(pa.float32()))})
    with TemporaryDirectory() as source:
        write_lookup(Path(source), table, "user")
        root = Path(source) / "cut" if cut else folder
        pushed = push_model(Path(source), "table", root, number, options=None).version.path
        if cut:
            half = folder / "table" / str(number)
            half.mkdir()
            (half / DIGESTS).write_bytes((pushed / DIGESTS).read_bytes())
            (half / FILE).write_bytes((pushed / FILE).read_bytes()[:5_000])


def write(folder: Path) -> Path:
    """The graph's file, with version 1 of the table beside it."""
    folder.mkdir()
    publish(folder, 1)
    minus = {"call": "tests.support.nodes:Add", "with": {"amount": LIVE}, "inputs": {"x": "x"}}
    table = {"lookup": str(folder / "table"), "inputs": {"key": "user"}, "otherwise": {"version": "minus.y"}}
    graph = {
        "name": "users",
        "inputs": {"user": "INT64[-1]", "x": "FP32[-1, 2]"},
        "nodes": {"table": table, "minus": minus},
        "outputs": {"version": "table.version", "found": "table.found"},
    }
    path = folder / "users.yaml"
    path.write_text(yaml.safe_dump(graph))
    return path
