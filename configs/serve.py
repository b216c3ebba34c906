"""The arguments of our application in `serve_config.yaml`, and a strict check of that whole file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from configs.documents import Document, Path_, read_document
from configs.frozen import Frozen
from configs.node_options import Callable_, Replicas
from configs.problems import Problem
from configs.ray_serve import ServeConfig
from configs.translate import HEADER_NAME, HTTP_URL, translate

IMPORT_PATH = "deployments.app:build"
"""Ray's `import_path` of our application."""


class GatewayArgs(Frozen):
    """Size of the gateway: the deployment that decodes requests and runs the graphs' inline nodes."""

    replicas: Replicas = Field(default_factory=Replicas, description="A number, or {min, max}.")
    cpus: float = Field(1, gt=0, description="CPUs of each gateway replica: its share for inline nodes.")
    threads: int = Field(1, ge=1, description="Threads that one model call may use inside its framework.")
    max_ongoing_requests: int = Field(
        5000,
        ge=1,
        description="Requests that one replica holds at a time; more wait unseen, in Serve. By default more than "
        "HAProxy lets in: what a queue holds is bounded by `max_wait_s` of the nodes.",
    )


CLIENT_ADDRESS = "x-millrace-client"
"""Header in which our HAProxy writes the address of the client; what a client itself writes there is replaced."""


class ClientLimit(Frozen):
    """What one client may ask for at a time, so that others are served beside it. Handles are not limited."""

    in_flight: int = Field(
        ge=1, description="Requests that one client may have in flight in each gateway replica; more get 429."
    )
    header: Annotated[str, AfterValidator(str.lower)] = Field(
        CLIENT_ADDRESS,
        pattern=HEADER_NAME,
        description="Header, or gRPC metadata, that tells clients apart; of a list the last value counts. By default "
        "the address that HAProxy sees. Requests without it are those of one client.",
    )


class TracingArgs(Frozen):
    """Spans of requests and of their nodes, as OpenTelemetry has them."""

    exporter: Literal["otlp", "console"] = Field(
        description="`otlp`: to a collector, over HTTP (needs the extra `otlp`). `console`: to the replicas' standard "
        "output, a line of JSON each."
    )
    endpoint: str | None = Field(
        None,
        pattern=HTTP_URL,
        description="URL that `otlp` posts to; without it `http://localhost:4318/v1/traces`.",
    )
    sample: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the requests without `traceparent` that are traced; of the others their callers decide.",
    )


def _unique(paths: list[str]) -> list[str]:
    repeated = sorted({path for path in paths if paths.count(path) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)}: named more than once; name each once")
    return paths


class AppArgs(Frozen):
    """`args` of an application with `import_path: deployments.app:build`."""

    graphs: Annotated[list[Annotated[str, Field(min_length=1)]], AfterValidator(_unique)] = Field(
        min_length=1, description="Paths of the graphs' YAML files."
    )
    profile: str = Field(
        "auto", min_length=1, description="Placement profile of the graphs; `auto`: `cpu` where the cluster has no GPU."
    )
    root: str | None = Field(
        None,
        min_length=1,
        description="Folder that relative paths start from; else the checkout if only that has the graphs' files, else "
        "the working directory.",
    )
    revision: str = Field(
        "", description="Any text; when it changes, a redeploy restarts gateway and stages though nothing else changed."
    )
    state_url: str | None = Field(
        None,
        min_length=1,
        description="Database with the versions and their routes: `sqlite:///path/to/file`, or "
        "`postgresql://user:password@host/name` (needs the extra `postgres`) where control may move to another "
        "machine; without it the file `.millrace/<application>.sqlite` in the root folder.",
    )
    routers: Annotated[list[Callable_], AfterValidator(_unique)] = Field(
        default_factory=list,
        description="Import paths `package.module:name` of the user's own `fastapi.APIRouter`s, served beside the "
        "graphs' routes.",
    )
    gateway: GatewayArgs = Field(default_factory=GatewayArgs, description="Size of the gateway.")
    client_limit: ClientLimit | None = Field(
        None, description="Most that one client may have in flight; without it there is no such limit."
    )
    max_request_bytes: int = Field(64 << 20, ge=1, description="Largest request body in bytes; 64 MiB by default.")
    trusted_keys: list[str] = Field(
        default_factory=list,
        description="Files of Ed25519 public keys in PEM; if any are given, only versions that one of them signed "
        "(`millrace models push --sign`) are served.",
    )
    graph_texts: dict[str, str] | None = Field(
        None,
        description="Path → content that stands for that of the file; from control, when it deploys the last good "
        "configuration again.",
    )
    name: str = Field("millrace", min_length=1, description="Server name in the metadata of the v2 protocol.")
    tracing: TracingArgs | None = Field(None, description="Where spans of requests go; without it there are none.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Lowest level that is logged.")


def placement_profile(given: str, has_gpu: Callable[[], bool]) -> str:
    """The profile of the graphs: what is given; for `auto`, `gpu` or `cpu` by whether there is a GPU."""
    return given if given != "auto" else ("gpu" if has_gpu() else "cpu")


def find_root(root: str | None, graphs: Sequence[str]) -> Path:
    """The folder that relative paths start from, as `AppArgs.root` describes."""
    if root is not None:
        return Path(root).absolute()
    here, ours = Path.cwd(), Path(__file__).parents[1]
    missing = not all((here / graph).is_file() for graph in graphs)
    return ours if missing and all((ours / graph).is_file() for graph in graphs) else here


def is_ours(application: Mapping[str, Any]) -> bool:
    """Whether an entry of `applications` is ours; Ray takes `deployments.app.build` for the same as with a colon."""
    return str(application.get("import_path")).replace(":", ".") == IMPORT_PATH.replace(":", ".")


def graphs_folder(application: Mapping[str, Any]) -> Path | None:
    """The folder that an application's relative paths start from, as its replicas see it.

    Works on unchecked entries. None if the folder is not on this machine (a remote `runtime_env.working_dir`).
    """
    args, runtime_env = application.get("args"), application.get("runtime_env")
    root = args.get("root") if isinstance(args, dict) else None
    root = root if isinstance(root, str) else None
    uri = runtime_env.get("working_dir") if isinstance(runtime_env, dict) else None
    if isinstance(uri, str):
        return Path(uri.removeprefix("local://")) / (root or "") if uri.startswith("local:///") else None
    graphs = args.get("graphs") if isinstance(args, dict) else None
    return find_root(root, [g for g in graphs if g and isinstance(g, str)] if isinstance(graphs, list) else [])


def lint_serve_config(path: Path) -> list[Problem]:
    """All problems of a `serve_config.yaml`, in the order of their lines; none if Serve will read it as written.

    Serve ignores unknown keys; here they are problems, at every level. Graph files must exist but are not opened.
    """
    document = read_document(path)
    if isinstance(document, Problem):
        return [document]
    problems = [*document.problems, *_invalid(document, ServeConfig, document.data, ())]
    problems += _same_port(document)
    applications = [(place, item) for place, item in _items(document.data, "applications", ())]
    problems += _repeated(document, applications, "name", "default")
    problems += _repeated(document, applications, "route_prefix", "/")
    for place, application in applications:
        problems += _repeated(document, list(_items(application, "deployments", place)), "name", None)
        if is_ours(application):
            problems += _our_args(document, place, application)
    return sorted(problems, key=lambda problem: problem.line or 0)


def _invalid(document: Document, model: type[BaseModel], data: Any, place: Path_) -> list[Problem]:
    try:
        model.model_validate(data)
    except ValidationError as error:
        return translate(error, model, document, place)
    return []


def _items(parent: dict[Any, Any], key: str, place: Path_) -> Iterator[tuple[Path_, dict[Any, Any]]]:
    """The mappings in the list `parent[key]`, each with its path; what has another type the schema reports."""
    items = parent.get(key)
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict):
            yield (*place, key, index), item


def _repeated(
    document: Document, items: list[tuple[Path_, dict[Any, Any]]], key: str, default: str | None
) -> Iterator[Problem]:
    seen: dict[str, Path_] = {}
    for place, item in items:
        value = item.get(key, default)
        if isinstance(value, str) and value in seen:
            line = document.line_of(seen[value])
            message = f"the same {key} as the entry on line {line}"
            yield document.problem((*place, key), message, value, f"give each its own {key}")
        elif isinstance(value, str):
            seen[value] = place


def _same_port(document: Document) -> Iterator[Problem]:
    http, grpc = document.data.get("http_options"), document.data.get("grpc_options")
    if not isinstance(grpc, dict) or not grpc:
        return
    port = http.get("port", 8000) if isinstance(http, dict) else 8000
    if grpc.get("port", 9000) == port:
        field = ("grpc_options", "port")
        yield document.problem(field, "HTTP listens on this port too", port, "give gRPC another port, e.g. 9000")


def _our_args(document: Document, place: Path_, application: dict[Any, Any]) -> Iterator[Problem]:
    args = application.get("args", {})
    if not isinstance(args, dict):
        return  # the schema reports it
    place = (*place, "args")
    yield from _invalid(document, AppArgs, args, place)
    graphs = args.get("graphs")
    named = [graph if isinstance(graph, str) else "" for graph in graphs] if isinstance(graphs, list) else []
    folder = graphs_folder(application)
    for index, graph in enumerate(named):
        if graph and folder is not None and not (folder / graph).is_file():
            remedy = f"looked for in {folder}; correct the path, or set `root` to the folder that it starts from"
            yield document.problem((*place, "graphs", index), "no such file", graph, remedy)
