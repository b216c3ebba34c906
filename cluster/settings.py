"""The environment that a Ray cluster for Millrace is started with: every setting of Ray and Serve, with its reason.

All of them are read when a Ray process starts, so they belong into the environment of whatever starts the cluster
(`ray start`, or the driver that starts a local one). Set in a driver that joins a running cluster they change nothing.
"""

from pathlib import Path
from typing import NamedTuple

from cluster.ports import Ports
from configs.serve import CLIENT_ADDRESS

MAX_MESSAGE_BYTES = 128 << 20
"""Largest message between processes and over gRPC: above the gateway's largest request body, 64 MiB by default."""

_BUFFER_BYTES = 128 << 10
"""HAProxy's buffer, twice a connection while bytes are in it; Serve's default is 16 KiB."""
_BODY_S = 60
"""How long a client may take to send a body that fits into HAProxy's buffer; then it gets 408."""


class Setting(NamedTuple):
    """One environment variable."""

    name: str
    value: str
    reason: str


def serve_environment(*, haproxy: bool, ports: Ports, folder: Path) -> dict[str, str]:
    """Environment variables for a cluster on this machine, name → value.

    Args:
        haproxy: HAProxy in front of the replicas; else Ray's Python proxy.
        ports: ports that this cluster may use, beside those of the serve config.
        folder: absolute path of a short-lived folder of this cluster's own. At most 24 characters: Ray and HAProxy
            put Unix sockets deep below it, whose paths may have 107.
    """
    return {setting.name: setting.value for setting in serve_settings(haproxy=haproxy, ports=ports, folder=folder)}


def serve_settings(*, haproxy: bool, ports: Ports, folder: Path) -> list[Setting]:
    """What `serve_environment` sets, with the reasons. Arguments are the same."""
    return [*_ray(folder), *_serve(haproxy), *_replica_ports(ports), *(_haproxy(ports, folder) if haproxy else [])]


def _ray(folder: Path) -> list[Setting]:
    return [
        Setting("RAY_TMPDIR", str(folder), "Sessions, sockets and logs lie apart, to be found and removed."),
        Setting(
            "RAY_AUTH_MODE",
            "disabled",
            "Unset, it depends on whether some earlier Ray left a token in the home folder, and may differ between "
            "cluster and driver.",
        ),
        Setting("RAY_USAGE_STATS_ENABLED", "0", "Nothing is sent to anybody, and nobody is asked at the start."),
        Setting("RAY_worker_niceness", "0", "Ray's default of 15 makes replicas wait for every other process."),
    ]


def _serve(haproxy: bool) -> list[Setting]:
    on = "1" if haproxy else "0"
    return [
        Setting("RAY_SERVE_ENABLE_HA_PROXY", on, "Six times the requests per second of Ray's Python proxy."),
        Setting(
            "RAY_SERVE_THROUGHPUT_OPTIMIZED",
            "1",
            "One event loop a replica, gRPC between replicas, buffered logs. With either proxy, so that user code "
            "runs on the same loop in both.",
        ),
        Setting("RAY_SERVE_ENABLE_DIRECT_INGRESS", on, "Replicas open ports of their own; only HAProxy uses them."),
        Setting(
            "RAY_SERVE_PROXY_USE_GRPC",
            "1",
            "Computed before the throughput setting is read, which alone leaves the Python proxy on slow actor calls.",
        ),
        Setting(
            "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH",
            str(MAX_MESSAGE_BYTES),
            "The default of 4 MiB refuses a batch of images between gateway and stage.",
        ),
        Setting(
            "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE",
            str(MAX_MESSAGE_BYTES),
            "The default of 2 GiB lets one client fill a gateway's memory.",
        ),
    ]


def _replica_ports(ports: Ports) -> list[Setting]:
    why = "Two clusters on one machine need ranges apart; Serve's for gRPC also lies where the kernel takes ports from."
    return [
        Setting("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", str(ports.replica_http[0]), why),
        Setting("RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT", str(ports.replica_http[-1]), why),
        Setting("RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT", str(ports.replica_grpc[0]), why),
        Setting("RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT", str(ports.replica_grpc[-1]), why),
    ]


def _haproxy(ports: Ports, folder: Path) -> list[Setting]:
    # One letter: Serve adds the node's id of 56 characters before the sockets' names.
    files = folder / "h"
    port = "Serve's is fixed, and a second cluster on this machine would not get it."
    file = "Serve's folder is fixed, and a second cluster on this machine would share it."
    return [
        Setting("RAY_SERVE_HAPROXY_METRICS_PORT", str(ports.haproxy_metrics), port),
        Setting("RAY_SERVE_HAPROXY_STATS_PORT", str(ports.haproxy_stats), port),
        Setting("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT", str(ports.fallback_http), port),
        Setting("RAY_SERVE_FALLBACK_PROXY_GRPC_PORT", str(ports.fallback_grpc), port),
        Setting("RAY_SERVE_HAPROXY_CONFIG_FILE_LOC", str(files / "haproxy.cfg"), file),
        Setting("RAY_SERVE_HAPROXY_SOCKET_PATH", str(files / "admin.sock"), file),
        Setting("RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH", str(files / "metrics.sock"), file),
        Setting("RAY_SERVE_HAPROXY_SERVER_STATE_BASE", str(files), file),
        Setting("RAY_SERVE_HAPROXY_SERVER_STATE_FILE", str(files / "server-state"), file),
        Setting(
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
            "deployments.express:middlewares",
            "Requests go from a replica's HTTP server straight to the gateway, past half of Serve's work for each.",
        ),
        *_faults(),
        Setting(
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
            "2",
            "A replica that goes stays open this long for balancers to notice. The default of 30 s is for balancers "
            "outside; our HAProxy hears of it within 0.1 s.",
        ),
    ]


def _faults() -> list[Setting]:
    """What makes deaths of replicas and of HAProxy cost latency instead of requests."""
    return [
        Setting(
            "RAY_SERVE_HAPROXY_RETRY_ON",
            "conn-failure empty-response",
            "A request in a replica that dies before it answers is sent to another. Serve's default retries only what "
            "was not sent yet, as not every application's requests may run twice; an inference may.",
        ),
        Setting(
            "RAY_SERVE_HAPROXY_TUNE_BUFSIZE",
            str(_BUFFER_BYTES),
            "What HAProxy holds of a request whole, it can send again. 1 MiB halved the requests per second "
            "of 600 KB bodies; this one costs them nothing.",
        ),
        Setting(
            "RAY_SERVE_HAPROXY_RETRIES",
            "2",
            "Three tries in all, as between gateway and stage: a request that kills its replica kills no more.",
        ),
        Setting(
            "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER",
            # Ray's template has no place for a rule of one's own. This value ends a line of each backend, so further
            # lines can follow it; the last word begins the line that the rest of the template's line belongs to.
            f"5s\n    http-request wait-for-body time {_BODY_S}s if {{ req.hdr(content-length) -m found }}"
            f"\n    http-request set-header {CLIENT_ADDRESS} %[src]"
            "\n    default-server",
            "HAProxy can only send again what it held whole when it sent it first, and many clients send headers and "
            "body apart. It waits for bodies of known length, or for a full buffer: not for streams. The gateway sees "
            "HAProxy's address alone, so it is told the client's, for `client_limit`.",
        ),
        Setting(
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S",
            "3",
            "Three failed checks until HAProxy is started again: the default of 10 s makes that half a minute. On a "
            "busy machine it takes seconds to start, so shorter would end it before it is up.",
        ),
    ]
