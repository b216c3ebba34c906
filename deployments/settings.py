"""The Serve options of every deployment, in one place, with their reasons."""

from typing import Any

from ray.serve.config import RequestRouterConfig

from configs.node_options import Replicas

STICKY = "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter"
"""Router by which the requests of one session go to the same replica."""

COMMON: dict[str, Any] = {
    # A new replica is up before an old one goes: with Serve's default of 0, one replica means a gap of seconds.
    "max_surge_percent": 100,
    # A wedged event loop is only found by `check_health`: Serve's own watchdog is off in throughput mode.
    "health_check_period_s": 5,
    "health_check_timeout_s": 15,
    # Requests in flight when a replica goes have this long to finish.
    "graceful_shutdown_timeout_s": 30,
    "graceful_shutdown_wait_loop_s": 0.5,
    # Serve makes an access log record at INFO for each request even where it is not written, which costs a tenth
    # of a small request. Metrics count requests instead.
    "logging_config": {"enable_access_log": False, "encoding": "JSON", "log_level": "WARNING"},
}

CONTROL_OPTIONS: dict[str, Any] = {
    **COMMON,
    "num_replicas": 1,
    "ray_actor_options": {"num_cpus": 0},
    "max_ongoing_requests": 1000,
    # Serve notices that a replica died by its next check alone. Versions stand still that long; models serve on.
    "health_check_period_s": 1,
    # When its application goes, it outlives the gateways, which have the time of `COMMON`, and then ends their stages.
    "graceful_shutdown_timeout_s": 60,
}


FRONT_OPTIONS: dict[str, Any] = {**COMMON, "num_replicas": 1, "ray_actor_options": {"num_cpus": 0}}


def replica_options(replicas: Replicas) -> dict[str, Any]:
    """Serve's options for a number of replicas, fixed or scaled by load."""
    if replicas.min == replicas.max:
        return {"num_replicas": replicas.min}
    return {
        "autoscaling_config": {
            "min_replicas": replicas.min,
            "max_replicas": replicas.max,
            "target_ongoing_requests": replicas.target_ongoing_requests,
            "upscale_delay_s": replicas.upscale_delay_s,
            "downscale_delay_s": replicas.downscale_delay_s,
            # The only one of Serve 2.60's push-interval settings that takes effect.
            "metrics_interval_s": 1,
            "look_back_period_s": 5,
        }
    }


def gateway_options(replicas: Replicas, cpus: float, max_ongoing_requests: int) -> dict[str, Any]:
    """Options of the gateway deployment."""
    return {
        **COMMON,
        **replica_options(replicas),
        "ray_actor_options": {"num_cpus": cpus},
        "max_ongoing_requests": max_ongoing_requests,
    }


def stage_options(replicas: Replicas, cpus: float, gpus: float, router: str | None) -> dict[str, Any]:
    """Options of a stage deployment. Ray books the GPU's fraction; the stage caps the memory itself.

    Args:
        router: Serve's request router; None: its own choice of two.
    """
    return {
        **COMMON,
        **({"request_router_config": RequestRouterConfig(request_router_class=router)} if router else {}),
        **replica_options(replicas),
        "ray_actor_options": {"num_cpus": cpus, "num_gpus": gpus},
        # The batcher gathers what waits inside the replica and refuses what would wait too long, so the replica must be
        # allowed to hold it all.
        "max_ongoing_requests": 5000,
    }
