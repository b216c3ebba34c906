"""A folder under a temporary name for one push, which nobody takes for a version and which does not stay behind."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from servables.store import PUSHING


@contextmanager
def workplace(model_dir: Path) -> Iterator[Path]:
    """An empty folder in `model_dir`, which is made if need be. What is left of it in the end is removed.

    What earlier pushes left when they were killed is removed too: each holds a lock on its folder while it lives.
    """
    made = not model_dir.exists()
    for leftover in model_dir.glob(f"{PUSHING}*"):
        _remove_left(leftover)
    folder, lock = _claim(model_dir)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # after a push it is gone: renamed
        os.close(lock)
        if made:
            _remove_empty(model_dir)


def _claim(model_dir: Path) -> tuple[Path, int]:
    while True:
        folder = model_dir / f"{PUSHING}{uuid4().hex[:12]}"
        folder.mkdir(parents=True)
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another push took it for a leftover: it has no lock yet
            continue
        _lock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _remove_left(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile, or no folder of ours
        return
    try:
        if _lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_empty(model_dir: Path) -> None:
    try:
        model_dir.rmdir()
    except OSError:  # it holds a version, or another push works in it
        return


def _lock(handle: int, how: int) -> bool:
    """Whether it is locked: not if another push holds it, nor on a file system (some NFS) that locks no folders."""
    try:
        fcntl.flock(handle, how)
    except OSError:
        return False
    return True
