"""TCP ports of this machine: which are free, who holds one, and a set of free ones for a cluster."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from configs.errors import ConfigError

_FIRST, _LAST = 20_000, 32_000
"""Where blocks are looked for: above well-known services, below the ports that Linux gives to outgoing connections."""
_BLOCK = 200
_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp (include/net/tcp_states.h)."""


class Ports(NamedTuple):
    """Ports that one cluster uses beside those of its serve config."""

    haproxy_metrics: int
    haproxy_stats: int
    fallback_http: int
    fallback_grpc: int
    replica_http: range
    replica_grpc: range


def free_ports() -> Ports:
    """A block of ports that nobody listens on now. Raises ConfigError if there is none."""
    blocks = range(_FIRST, _LAST, _BLOCK)
    # Start at another block in each process, so that two clusters started at once do not choose the same.
    turn = os.getpid() % len(blocks)
    for first in (*blocks[turn:], *blocks[:turn]):
        if all(is_free("", port) for port in range(first, first + _BLOCK)):
            middle = first + _BLOCK // 2
            return Ports(
                first, first + 1, first + 2, first + 3, range(first + 4, middle), range(middle, first + _BLOCK)
            )
    raise ConfigError(f"no {_BLOCK} free ports in a row between {_FIRST} and {_LAST}; stop other clusters first")


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on this port now; an empty host means all interfaces."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections don't count
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def check_free(host: str, port: int, field: str) -> None:
    """Raise ConfigError if the port that the serve config's `field` names is taken; the message says by whom."""
    if not is_free(host, port):
        holder = port_holder(port) or "another process"
        raise ConfigError(f"{field} {port} is in use by {holder}; stop it, or set another {field} in the serve config")


def port_holder(port: int) -> str | None:
    """The process that listens on this port, as `name (pid N)`; None if there is none that we may see."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in sockets for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # the process has ended, or belongs to another user
    return None


def _listening(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            _, local, _, state, *_rest = columns = line.split()
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield columns[9]
