"""The linter of serve_config.yaml reports what Ray Serve would pass over, and accepts what is right."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from configs import ray_serve
from configs.serve import AppArgs, find_root, lint_serve_config

GOOD = """\
proxy_location: EveryNode
http_options: {host: 127.0.0.1, port: 8000, request_timeout_s: 60}
grpc_options:
  port: 9000
  grpc_servicer_functions: [deployments.protocols:add_servicer]
logging_config: {encoding: JSON, log_level: INFO}
applications:
  - name: millrace
    route_prefix: /
    import_path: deployments.app:build
    runtime_env: {env_vars: {OMP_NUM_THREADS: "1"}}
    args:
      graphs: [configs/digits.yaml]
      gateway: {replicas: {min: 1, max: 4}, cpus: 2}
  - name: other
    route_prefix: /other
    import_path: package.module.app
    args: {anything: goes}
    deployments:
      - {name: A, autoscaling_config: {min_replicas: 1, max_replicas: 2}, max_surge_percent: 100}
      - {name: B, num_replicas: auto, ray_actor_options: {num_gpus: 0.5, resources: {tpu: 1}}}
"""


@pytest.fixture
def lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Problems of a text as `line: field: …`, in a working directory that has configs/digits.yaml."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "digits.yaml").touch()
    monkeypatch.chdir(tmp_path)

    def lint(text: str) -> list[str]:
        path = tmp_path / "serve_config.yaml"
        path.write_text(text)
        return [str(problem).removeprefix(f"{path}:") for problem in lint_serve_config(path)]

    return lint


def app(rest: str = "", args: str = "{graphs: [configs/digits.yaml]}") -> str:
    """A file with our application alone, in one line."""
    return f"applications: [{{name: a, import_path: 'deployments.app:build', args: {args}{rest}}}]\n"


def test_a_good_file_has_no_problems(lint):
    assert lint(GOOD) == []


def test_ray_reads_the_good_file():
    schema = pytest.importorskip("ray.serve.schema")
    assert len(schema.ServeDeploySchema.model_validate(yaml.safe_load(GOOD)).applications) == 2


def test_all_problems_at_once_in_the_order_of_lines(lint):
    assert lint(
        "proxy_locaton: EveryNode\n"
        "http_options: {port: 70000}\n"
        "applications:\n"
        "  - name: a\n"
        "    import_path: deployments.app:build\n"
        "    args:\n"
        "      graphs: [configs/digits.yaml]\n"
        "      profil: cpu\n"
        "    runtime_env: {env_vars: {A: 1}}\n"
        "  - name: a\n"
        "    import_path: x.y:z\n"
        "    deployments:\n"
        "      - name: D\n"
        "        autoscaling_config: {min_replicas: 5, max_replicas: 2}\n"
        "      - name: D\n"
        "        ray_actor_options: {num_gpu: 1}\n"
    ) == [
        "1: proxy_locaton: unknown key `proxy_locaton`; did you mean `proxy_location`?",
        "2: http_options.port: must be at most 65535 (value 70000)",
        "8: applications[0].args.profil: unknown key `profil`; did you mean `profile`?",
        "9: applications[0].runtime_env.env_vars.A: must be text (value 1); put it in quotes",
        '10: applications[1].name: the same name as the entry on line 4 (value "a"); give each its own name',
        '10: applications[1].route_prefix: the same route_prefix as the entry on line 4 (value "/"); '
        "give each its own route_prefix",
        "14: applications[1].deployments[0].autoscaling_config: min_replicas 5 is greater than max_replicas 2 "
        '(value {"max_replicas": 2, "min_replicas": 5})',
        '15: applications[1].deployments[1].name: the same name as the entry on line 13 (value "D"); '
        "give each its own name",
        "16: applications[1].deployments[1].ray_actor_options.num_gpu: unknown key `num_gpu`; did you mean `num_gpus`?",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("grpc_options: {port: 9000}", "grpc_options: Serve starts no gRPC server without `grpc_servicer_functions`"),
        ("grpc_options: {grpc_servicer_functions: ['a:b']}", "grpc_options: `grpc_servicer_functions` without `port`"),
        (
            "grpc_options: {port: 8000, grpc_servicer_functions: ['a:b']}",
            "grpc_options.port: HTTP listens on this port too (value 8000)",
        ),
        (
            "grpc_options: {port: 7000, grpc_servicer_functions: ['a:b']}\nhttp_options: {port: 7000}",
            "grpc_options.port: HTTP listens on this port too (value 7000)",
        ),
        ("http_options: {port: 0}", "http_options.port: must be at least 1 (value 0)"),
        ("http_options: {port: eighty}", 'http_options.port: must be a whole number (value "eighty")'),
        ("http_options: {ssl_keyfile: k.pem}", "http_options: `ssl_keyfile` and `ssl_certfile` go together"),
        ("http_options:", "http_options: must be a mapping (value null); write a value or remove the key"),
        ("logging_config: {log_level: LOUD}", "logging_config.log_level: must be one of `CRITICAL`"),
        ("target_capacity: 101", "target_capacity: must be at most 100 (value 101)"),
        ("controller_options: {runtime_env: {pip: [x]}}", "controller_options.runtime_env.pip: unknown key `pip`"),
    ],
)
def test_options_of_the_whole_instance(lint, options, problem):
    (found,) = lint(f"{app()}{options}\n")
    assert re.sub(r"^\d+: ", "", found).startswith(problem)


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        (", route_prefix: api", "route_prefix: a route prefix starts with /"),
        (", route_prefix: /api/", "route_prefix: a route prefix starts with /"),
        (", port: 8000", "port: unknown key `port`"),
        (", runtime_env: {working_dir: .}", "runtime_env.working_dir: in a config file this is a remote URI"),
        (", runtime_env: {working_dir: 'local://x'}", "runtime_env.working_dir: a local URI has an absolute path"),
        (", runtime_env: {envvars: {}}", "runtime_env.envvars: unknown key `envvars`; did you mean `env_vars`?"),
        (", deployments: [{num_replicas: 1}]", "deployments[0].name: is missing"),
        (
            ", deployments: [{name: D, num_replicas: manual}]",
            "deployments[0].num_replicas: must be a whole number or `auto`",
        ),
        (
            ", deployments: [{name: D, num_replicas: 2, autoscaling_config: {max_replicas: 3}}]",
            "deployments[0]: `num_replicas: 2` and `autoscaling_config` exclude each other",
        ),
        (
            ", deployments: [{name: D, autoscaling_config: {max_replicas: 3, initial_replicas: 4}}]",
            "deployments[0].autoscaling_config: initial_replicas 4 is not in 1…3",
        ),
        (
            ", deployments: [{name: D, max_queued_requests: 0}]",
            "deployments[0]: `max_queued_requests` is -1 (no limit) or at least 1",
        ),
    ],
)
def test_one_application(lint, rest, problem):
    (found,) = lint(app(rest))
    assert found.startswith(f"1: applications[0].{problem}")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ("{}", "args.graphs: is missing; add it: Paths of the graphs' YAML files"),
        ("{graphs: []}", "args.graphs: must be longer: it has 0 of at least 1 entries"),
        ("{graphs: configs/digits.yaml}", "args.graphs: must be a list"),
        (
            "{graphs: [configs/digits.yaml, configs/digits.yaml]}",
            "args.graphs: configs/digits.yaml: named more than once",
        ),
        ("{graphs: [configs/no.yaml]}", 'args.graphs[0]: no such file (value "configs/no.yaml"); looked for in '),
        ("[1]", "args: must be a mapping (value [1])"),
        (
            "{graphs: [configs/digits.yaml], gateway: {replicas: {min: 2, max: 1}}}",
            "args.gateway.replicas: min 2 is greater than max 1",
        ),
        (
            "{graphs: [configs/digits.yaml], gateway: {cpu: 1}}",
            "args.gateway.cpu: unknown key `cpu`; did you mean `cpus`?",
        ),
        ("{graphs: [configs/digits.yaml], routers: [a.b.c]}", "args.routers[0]: "),
        ("{graphs: [configs/digits.yaml], routers: ['a:b', 'a:b']}", "args.routers: a:b: named more than once"),
    ],
)
def test_args_of_our_application(lint, args, problem):
    (found,) = lint(app(args=args))
    assert found.startswith(f"1: applications[0].{problem}")


def test_our_application_without_args(lint):
    (found,) = lint("applications: [{import_path: deployments.app.build}]")
    assert found.startswith("1: applications[0].args.graphs: is missing")


def test_graph_files_are_looked_for_where_the_replicas_will_look(lint, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "g.yaml").touch()
    assert lint(app(args=f"{{graphs: [g.yaml], root: {elsewhere}}}")) == []
    assert lint(app(f", runtime_env: {{working_dir: 'local://{elsewhere}'}}", args="{graphs: [g.yaml]}")) == []
    assert len(lint(app(f", runtime_env: {{working_dir: 'local://{elsewhere}'}}"))) == 1
    assert lint(app(", runtime_env: {working_dir: 's3://bucket/code.zip'}", args="{graphs: [g.yaml]}")) == []


def test_a_file_that_cannot_be_read_is_one_problem(lint, tmp_path):
    assert lint("applications: [") == ["1: column 16: not YAML: while parsing a flow node, expected the node content, "
        "but found '<stream end>'; check indentation, brackets and quotes there"]  # fmt: skip
    assert [problem.line for problem in lint_serve_config(tmp_path / "absent.yaml")] == [None]


def test_duplicate_keys_and_missing_applications(lint):
    assert lint("target_capacity: 1\ntarget_capacity: 2\n") == [
        "1: applications: is missing; add it: The applications to run, at least one",
        "2: target_capacity: the key `target_capacity` is given twice, first on line 1; remove one of them",
    ]


def test_root_is_the_working_directory_unless_only_the_checkout_has_the_graphs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").touch()
    assert find_root(None, ["g.yaml"]) == tmp_path
    assert find_root(None, ["configs/digits.yaml"]) == Path(__file__).parents[3]
    assert find_root(None, ["g.yaml", "configs/digits.yaml"]) == tmp_path
    assert find_root("sub", ["g.yaml"]) == tmp_path / "sub"


@pytest.mark.parametrize(
    ("tracing", "problem"),
    [
        ("{exporter: otlp, endpoint: 'http://127.0.0.1:4318/v1/traces', sample: 1}", ""),
        ("{exporter: jaeger}", 'tracing.exporter: must be one of `otlp`, `console` (value "jaeger")'),
        ("{sample: 0.5}", "tracing.exporter: is missing"),
        ("{exporter: otlp, sample: 2}", "tracing.sample: must be at most 1 (value 2)"),
        ("{exporter: otlp, endpoint: 'collector:4318'}", "tracing.endpoint: must be a URL that begins with http"),
        ("{exporter: otlp, ratio: 1}", "tracing.ratio: unknown key `ratio`"),
    ],
)
def test_where_spans_go(lint, tracing, problem):
    found = lint(app(args=f"{{graphs: [configs/digits.yaml], tracing: {tracing}}}"))
    assert problem in "\n".join(found) if problem else not found


@pytest.mark.parametrize(
    ("limit", "problem"),
    [
        ("{in_flight: 64, header: X-Tenant}", ""),
        ("{header: x-tenant}", "client_limit.in_flight: is missing"),
        ("{in_flight: 1, header: x tenant}", "client_limit.header: must be a header's name: letters, digits, - _ and"),
    ],
)
def test_what_one_client_may_ask_for(lint, limit, problem):
    found = lint(app(args=f"{{graphs: [configs/digits.yaml], client_limit: {limit}}}"))
    assert problem in "\n".join(found) if problem else not found


def test_app_args_defaults():
    args = AppArgs(graphs=["g.yaml"])
    assert (args.profile, args.gateway.replicas.min, args.gateway.replicas.max) == ("auto", 1, 1)
    assert args.max_request_bytes == 64 * 1024 * 1024
    with pytest.raises(ValidationError):
        args.profile = "cpu"  # type: ignore[misc]


def ray_models() -> list[tuple[type[BaseModel], type[BaseModel]]]:
    config, schema = pytest.importorskip("ray.serve.config"), pytest.importorskip("ray.serve.schema")
    return [
        (ray_serve.ServeConfig, schema.ServeDeploySchema),
        (ray_serve.Application, schema.ServeApplicationSchema),
        (ray_serve.Deployment, schema.DeploymentSchema),
        (ray_serve.HttpOptions, schema.HTTPOptionsSchema),
        (ray_serve.GrpcOptions, schema.gRPCOptionsSchema),
        (ray_serve.Logging, schema.LoggingConfig),
        (ray_serve.Tracing, schema.TracingConfig),
        (ray_serve.ActorOptions, schema.RayActorOptionsSchema),
        (ray_serve.ControllerOptions, config.ControllerOptions),
        (ray_serve.Autoscaling, config.AutoscalingConfig),
        (ray_serve.Policy, config.AutoscalingPolicy),
        (ray_serve.Backpressure, config.BackpressureConfig),
        (ray_serve.RequestRouter, config.RequestRouterConfig),
        (ray_serve.Gang, config.GangSchedulingConfig),
        (ray_serve.DeploymentActor, config.DeploymentActorConfig),
    ]


def test_keys_are_those_of_the_installed_ray():
    # Ray keeps `host` and `port` in an application for its old one-application files and refuses them here.
    refused = {"ServeApplicationSchema": {"host", "port"}}
    # Private attributes of Ray's models carry serialised functions; a user does not write them.
    for ours, rays in ray_models():
        public = {name for name in rays.model_fields if not name.startswith("_")}
        assert set(ours.model_fields) == public - refused.get(rays.__name__, set()), rays.__name__


def test_keys_of_runtime_env_are_those_of_the_installed_ray():
    known = pytest.importorskip("ray.runtime_env").RuntimeEnv.known_fields
    private = {"_inject_current_ray", "_ray_commit", "_ray_release"}
    assert set(ray_serve.RuntimeEnv.model_fields) == {field.removeprefix("_") for field in known - private}


def test_required_keys_are_those_of_the_installed_ray():
    for ours, rays in ray_models():
        for name, field in ours.model_fields.items():
            assert field.is_required() == rays.model_fields[name].is_required(), f"{rays.__name__}.{name}"
