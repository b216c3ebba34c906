"""Ray Serve 2.60's `serve_config.yaml` as a strict schema: what Ray reads, without its silence about unknown keys.

The keys are those of `ray.serve.schema.ServeDeploySchema` and what it contains; a test compares them with the
installed Ray. Where Ray checks a value only when it deploys, or not at all, the check is made here.
"""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlparse

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, model_validator

_REMOTE = ("http", "https", "s3", "gs", "azure", "abfss", "file", "local", "gcs")
"""Protocols of `working_dir` and `py_modules` in a config file."""


def _remote_uri(value: str) -> str:
    if urlparse(value).scheme not in _REMOTE:
        raise ValueError("in a config file this is a remote URI (an archive, e.g. s3://…) or local:///absolute/folder")
    if value.startswith("local:") and not value.startswith("local:///"):
        raise ValueError("a local URI has an absolute path: local:///absolute/folder")
    return value


def _import_path(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*([:.])[A-Za-z_][\w.]*", value) or value.endswith("."):
        raise ValueError("an import path is `package.module:name`")
    return value


def _route(value: str) -> str:
    if not value.startswith("/") or (len(value) > 1 and value.endswith("/")) or "{" in value or "}" in value:
        raise ValueError("a route prefix starts with /, does not end with / and has no { or }")
    return value


Uri = Annotated[str, AfterValidator(_remote_uri)]
ImportPath = Annotated[str, AfterValidator(_import_path)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
LogLevel = Literal["CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET", 50, 40, 30, 20, 10, 0]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuntimeEnv(_Strict):
    """`runtime_env` of an application or of replicas."""

    working_dir: Uri | None = None
    py_modules: list[Uri] | None = None
    py_executable: str | None = None
    env_vars: dict[str, StrictStr] | None = Field(None, description="Names and texts; put numbers in quotes.")
    excludes: list[str] | None = None
    pip: Any = None
    uv: Any = None
    conda: Any = None
    container: Any = None
    image_uri: str | None = None
    java_jars: list[str] | None = None
    nsight: Any = None
    rocprof_sys: Any = None
    worker_process_setup_hook: str | None = None
    config: dict[str, Any] | None = None


class Logging(_Strict):
    """`logging_config`."""

    encoding: Literal["TEXT", "JSON"] = "TEXT"
    log_level: LogLevel = "INFO"
    logs_dir: str | None = None
    enable_access_log: bool = True
    additional_log_standard_attrs: list[str] = []


class Tracing(_Strict):
    """`tracing_config`."""

    enabled: bool = True
    exporter_import_path: str = ""
    sampling_ratio: float = Field(0.01, ge=0, le=1)


class HttpOptions(_Strict):
    """`http_options`."""

    host: str = "0.0.0.0"
    port: Port = 8000
    root_path: str = ""
    request_timeout_s: Seconds | None = None
    keep_alive_timeout_s: int = Field(90, ge=0)
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None

    @model_validator(mode="after")
    def _both_tls_files(self) -> Self:
        if (self.ssl_keyfile is None) != (self.ssl_certfile is None):
            raise ValueError("`ssl_keyfile` and `ssl_certfile` go together; give both or neither")
        return self


class GrpcOptions(_Strict):
    """`grpc_options`."""

    port: Port = 9000
    grpc_servicer_functions: list[ImportPath] = []
    request_timeout_s: Seconds | None = None
    enable_reflection: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Self:
        has_port, has_functions = "port" in self.model_fields_set, bool(self.grpc_servicer_functions)
        if has_port and not has_functions:
            raise ValueError("Serve starts no gRPC server without `grpc_servicer_functions`; add them or remove `port`")
        if has_functions and not has_port:
            raise ValueError("`grpc_servicer_functions` without `port`; write the port that clients use, e.g. 9000")
        return self


class ControllerEnv(_Strict):
    """`controller_options.runtime_env`."""

    env_vars: dict[str, StrictStr] = {}


class ControllerOptions(_Strict):
    """`controller_options`."""

    runtime_env: ControllerEnv | None = None


class ActorOptions(_Strict):
    """`ray_actor_options` of a deployment."""

    runtime_env: RuntimeEnv = RuntimeEnv()
    num_cpus: float | None = Field(None, ge=0)
    num_gpus: float | None = Field(None, ge=0)
    memory: float | None = Field(None, ge=0)
    resources: dict[str, Annotated[float, Field(ge=0)]] = {}
    accelerator_type: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None


class Policy(_Strict):
    """`autoscaling_config.policy`."""

    policy_function: ImportPath = "ray.serve.autoscaling_policy:default_autoscaling_policy"
    policy_kwargs: dict[str, Any] = {}


class Autoscaling(_Strict):
    """`autoscaling_config`."""

    min_replicas: Count = 1
    initial_replicas: Count | None = None
    max_replicas: int = Field(1, ge=1)
    target_ongoing_requests: Seconds | None = 2
    metrics_interval_s: Seconds = 10
    look_back_period_s: Seconds = 30
    smoothing_factor: Seconds = 1
    upscale_smoothing_factor: Seconds | None = None
    downscale_smoothing_factor: Seconds | None = None
    upscaling_factor: Seconds | None = None
    downscaling_factor: Seconds | None = None
    downscale_delay_s: float = Field(600, ge=0)
    downscale_to_zero_delay_s: float | None = Field(None, ge=0)
    upscale_delay_s: float = Field(30, ge=0)
    aggregation_function: Literal["mean", "max", "min"] = "mean"
    policy: Policy = Policy()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas {self.min_replicas} is greater than max_replicas {self.max_replicas}")
        initial = self.initial_replicas
        if initial is not None and not self.min_replicas <= initial <= self.max_replicas:
            raise ValueError(f"initial_replicas {initial} is not in {self.min_replicas}…{self.max_replicas}")
        return self


class Backpressure(_Strict):
    """`backpressure_config`."""

    status_code: Literal[503, 429] = 503
    retry_after_s: float | None = Field(None, ge=0, allow_inf_nan=False)


class RequestRouter(_Strict):
    """`request_router_config`."""

    request_router_class: ImportPath = "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter"
    request_router_kwargs: dict[str, Any] = {}
    request_routing_stats_period_s: Seconds = 10
    request_routing_stats_timeout_s: Seconds = 30
    initial_backoff_s: Seconds = 0.025
    backoff_multiplier: Seconds = 2
    max_backoff_s: Seconds = 0.5


class Gang(_Strict):
    """`gang_scheduling_config`."""

    gang_size: int = Field(ge=1)
    gang_placement_strategy: Literal["PACK", "SPREAD"] = "PACK"
    runtime_failure_policy: Literal["RESTART_GANG"] = "RESTART_GANG"


class DeploymentActor(_Strict):
    """An item of `deployment_actors`."""

    name: str
    actor_class: ImportPath
    init_args: list[Any] = []
    init_kwargs: dict[str, Any] = {}
    actor_options: dict[str, Any] = {}


class Deployment(_Strict):
    """An item of an application's `deployments`."""

    name: str = Field(min_length=1)
    num_replicas: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    max_ongoing_requests: int = Field(5, ge=1)
    max_queued_requests: StrictInt = Field(-1, ge=-1)
    backpressure_config: Backpressure = Backpressure()
    user_config: dict[str, Any] | None = None
    autoscaling_config: Autoscaling | None = None
    graceful_shutdown_wait_loop_s: float = Field(2, ge=0)
    graceful_shutdown_timeout_s: float = Field(20, ge=0)
    health_check_period_s: Seconds = 10
    health_check_timeout_s: Seconds = 30
    ray_actor_options: ActorOptions = ActorOptions()
    placement_group_bundles: list[dict[str, float]] = []
    placement_group_strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    placement_group_bundle_label_selector: list[dict[str, str]] = []
    max_replicas_per_node: int = Field(100, ge=1, le=100)
    logging_config: Logging = Logging()
    request_router_config: RequestRouter = RequestRouter()
    gang_scheduling_config: Gang | None = None
    deployment_actors: list[DeploymentActor] | None = None
    rolling_update_percentage: float = Field(0.2, gt=0, le=1)
    max_surge_percent: int = Field(0, ge=0, le=100)

    @model_validator(mode="after")
    def _one_way_to_scale(self) -> Self:
        if isinstance(self.num_replicas, int) and self.autoscaling_config is not None:
            raise ValueError(f"`num_replicas: {self.num_replicas}` and `autoscaling_config` exclude each other")
        if self.max_queued_requests == 0:
            raise ValueError("`max_queued_requests` is -1 (no limit) or at least 1")
        return self


class Application(_Strict):
    """An item of `applications`. Ray's `host` and `port` here are refused by Ray itself: they stand at the top."""

    name: str = Field("default", min_length=1)
    route_prefix: Annotated[str, AfterValidator(_route)] | None = "/"
    import_path: ImportPath = Field(description="What builds the application; ours is `deployments.app:build`.")
    runtime_env: RuntimeEnv = RuntimeEnv()
    deployments: list[Deployment] = []
    autoscaling_policy: Policy | None = None
    args: dict[str, Any] = {}
    logging_config: Logging | None = None
    external_scaler_enabled: bool = False


class ServeConfig(_Strict):
    """The whole file."""

    proxy_location: Literal["EveryNode", "HeadOnly", "Disabled"] = "EveryNode"
    http_options: HttpOptions = HttpOptions()
    grpc_options: GrpcOptions = GrpcOptions()
    controller_options: ControllerOptions | None = None
    logging_config: Logging | None = None
    tracing_config: Tracing | None = None
    applications: list[Application] = Field(min_length=1, description="The applications to run, at least one.")
    target_capacity: float | None = Field(None, ge=0, le=100)
