"""Reads processes from /proc (Linux): sessions, environments, command lines."""

from pathlib import Path


def session(leader: int) -> dict[int, list[str]]:
    """Processes of a session that are alive: pid → command line."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX" and int(fields[3]) == leader:
                found[int(stat.parent.name)] = stat.with_name("cmdline").read_text().split("\0")
        except OSError:  # it has ended meanwhile
            continue
    return found


def children(pid: int) -> list[int]:
    """Processes that this one started and that are alive."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.partition("=")[::2] for pair in pairs if pair)


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
