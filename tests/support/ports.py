"""TCP ports that nobody uses now."""

import socket


def free_ports(count: int) -> list[int]:
    """Different free ports of 127.0.0.1."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports
