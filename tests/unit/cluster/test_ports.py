"""Taken ports are seen and named; blocks of free ones do not overlap."""

import os
import socket
from collections.abc import Iterator

import pytest

from cluster.ports import check_free, free_ports, is_free, port_holder
from configs.errors import ConfigError


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        server = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"no {request.param} here")
    with server:
        yield request.param, server.getsockname()[1]


def test_a_port_is_taken_while_somebody_listens(listener: tuple[str, int]) -> None:
    assert not is_free(*listener)


def test_a_taken_port_is_reported_with_its_holder_and_the_way_out(listener: tuple[str, int]) -> None:
    host, port = listener
    with pytest.raises(ConfigError) as raised:
        check_free(host, port, "http_options.port")
    assert f"http_options.port {port} is in use by " in raised.value.message
    assert f"(pid {os.getpid()})" in raised.value.message
    assert "set another http_options.port" in raised.value.message


def test_a_closed_port_is_free_at_once_and_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as client:
            server.accept()[0].close()  # the server's side closes first: its port stays in TIME_WAIT
            client.recv(1)
    assert is_free(*address)
    assert port_holder(address[1]) is None


def test_a_block_of_ports_is_free_and_has_no_port_twice() -> None:
    ports = free_ports()
    numbers = [*ports[:4], *ports.replica_http, *ports.replica_grpc]
    assert len(set(numbers)) == len(numbers) == 200
    assert all(20_000 <= number < 32_000 for number in numbers)


def test_the_next_block_is_taken_when_one_port_of_the_first_is_not_free() -> None:
    first = free_ports()
    with socket.create_server(("127.0.0.1", first.replica_grpc[7])):
        assert not set(free_ports().replica_grpc) & set(first.replica_grpc)
