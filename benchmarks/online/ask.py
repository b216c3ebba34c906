"""One request to a server, and its answer checked."""

import http.client
from typing import NamedTuple

import grpc

from benchmarks.online.v2 import HEADER_LENGTH
from benchmarks.online.workloads import Post, Protocol, Workload

HOST = "127.0.0.1"


class Ports(NamedTuple):
    """Where a server listens on `HOST`; one that does not speak a protocol leaves its port alone."""

    http: int
    grpc: int


class Unanswered(Exception):
    """There was no answer, or one that says that it failed."""


def ask(workload: Workload, post: Post, ports: Ports, timeout_s: float) -> None:
    """Send the workload's request `post` and check the answer.

    Raises:
        OSError: no connection.
        Unanswered: another failure; the server may not be up yet.
        ValueError: the answer is wrong.
    """
    over_grpc = workload.client.protocol is Protocol.GRPC
    body, header_length = (_call if over_grpc else _fetch)(post, ports, timeout_s)
    workload.check(body, header_length)


def _fetch(post: Post, ports: Ports, timeout_s: float) -> tuple[bytes, str | None]:
    connection = http.client.HTTPConnection(HOST, ports.http, timeout=timeout_s)
    try:
        connection.request("POST", post.path, post.body, post.headers)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise Unanswered(repr(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise Unanswered(f"{post.path} answered {response.status}: {body[:500]!r}")
    return body, response.getheader(HEADER_LENGTH)


def _call(post: Post, ports: Ports, timeout_s: float) -> tuple[bytes, None]:
    options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"{HOST}:{ports.grpc}", options) as channel:
        try:
            return channel.unary_unary(post.path)(post.body, timeout=timeout_s), None
        except grpc.RpcError as error:
            raise Unanswered(f"{post.path} ended with {error.code().name}: {error.details()}") from error
