"""The `millrace` command: check, explain and run graphs, over requests and over files; publish models."""

import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli import batch, models
from configs.documents import Document, load_document
from configs.errors import ConfigError, MillraceError
from configs.loader import graph_json_schema
from configs.serve import AppArgs, find_root, graphs_folder, is_ours, lint_serve_config

app = typer.Typer(
    help="Millrace: describe a graph of models once; serve it over HTTP, gRPC and Python handles on Ray Serve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models.app, name="models")
app.command()(batch.batch)
out = Console()
err = Console(stderr=True)

Profile = Annotated[str, typer.Option(help="Placement profile of the graph, e.g. `cpu`.")]
Root = Annotated[Path | None, typer.Option(help="Folder that relative model paths start from (default: here).")]


def _print_version(asked: bool) -> None:
    if asked:
        print(installed_version("millrace"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print Millrace's version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
def schema() -> None:
    """Print the JSON Schema of a graph's YAML file, for editors."""
    print(json.dumps(graph_json_schema(), indent=2))


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Serve configs (with `applications:`) and graph files.")],
    profile: Profile = "",
    root: Root = None,
    load: Annotated[
        bool, typer.Option(help="Also load every node on the CPU: only models know their own inputs and outputs.")
    ] = True,
) -> None:
    """Check files strictly, without starting anything. Exit code 1 if anything is wrong.

    Serve itself ignores unknown keys; here they are errors.
    """
    failed = 0
    for file in files:
        problems = _problems(file, profile, root, load)
        failed += bool(problems)
        if problems:
            err.print(f"[red]✗[/red] {file}", highlight=False)
            err.print(problems, markup=False, highlight=False, soft_wrap=True)
        else:
            out.print(f"[green]✓[/green] {file}", highlight=False)
    raise typer.Exit(1 if failed else 0)


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="A graph's YAML file.")],
    svg: Annotated[Path | None, typer.Option(help="Also draw the stages into this SVG file.")] = None,
    profile: Profile = "",
    root: Root = None,
    gateway_cpus: Annotated[float, typer.Option(help="CPUs of a gateway replica, as in the serve config.")] = 1.0,
) -> None:
    """Show what a graph becomes: which nodes run inline, which are placed, hops, GPUs, replicas."""
    from graphs import picture
    from graphs.check import check_file
    from graphs.explain import describe_step, longest_hops, stages
    from graphs.plan import compile_plan

    checked = check_file(file, find_root(str(root) if root else None, [str(file)]), profile)
    plan = compile_plan(checked.flat, gateway_cpus)
    table = Table(title=f"graph {plan.graph.name}", title_justify="left")
    for column in ("stage", "nodes", "CPUs", "GPUs", "replicas", "max rows"):
        table.add_column(column, overflow="fold")
    rows = stages(plan, gateway_cpus)
    for row in rows:
        nodes = ", ".join(row.nodes)
        table.add_row(row.stage, nodes, f"{row.cpus:g}", f"{row.gpus:g}", row.replicas, str(row.max_rows))
    out.print(table)
    for row in rows:
        out.print(f"{row.stage}: {row.note}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"hops in a row: {longest_hops(plan)}", highlight=False)
    for number, step in enumerate(plan.steps, 1):
        out.print(f"  {number}. {describe_step(step)}", highlight=False, markup=False)
    if svg is not None:
        svg.write_text(picture.svg(plan), encoding="utf-8")
        out.print(f"picture: {svg}", highlight=False)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="The serve config.")] = Path("serve_config.yaml"),
    proxy: Annotated[str, typer.Option(help="`haproxy` (fast) or `python` (Ray's own proxy).")] = "haproxy",
) -> None:
    """Start a local Ray cluster and serve a config on it; Ctrl-C stops everything it started, and nothing else."""
    from cluster.local import run_local

    if proxy not in ("haproxy", "python"):
        raise ConfigError(f"--proxy {proxy}: use `haproxy` or `python`")
    problems = _problems(config, "", None, load=False)
    if problems:
        raise ConfigError(problems)
    raise typer.Exit(run_local(config, haproxy=proxy == "haproxy"))


def _problems(file: Path, profile: str, root: Path | None, load: bool) -> str:
    """What is wrong with a serve config and its graphs, or with one graph; empty if nothing."""
    try:
        document = load_document(file)
        if "applications" not in document.data:
            _check(file, find_root(str(root) if root else None, [str(file)]), profile, load)
            return ""
        problems = lint_serve_config(file)
        if problems:
            return "\n".join(map(str, problems))
        applications = document.data["applications"]
        return "\n".join([*_graph_problems(applications, profile, load), *_router_problems(document)])
    except ConfigError as error:
        return error.message


def _check(file: Path, root: Path, profile: str, load: bool, keys: tuple[str, ...] = ()) -> None:
    from graphs.check import check_file
    from graphs.trial import try_file

    if load:
        try_file(file, root, profile, keys)
    else:
        check_file(file, root, profile)


def _graph_problems(applications: list[dict[str, Any]], profile: str, load: bool) -> list[str]:
    found: list[str] = []
    for application in applications:
        root = graphs_folder(application)
        if not is_ours(application) or root is None:
            continue
        found += _application_problems(AppArgs.model_validate(application.get("args", {})), root, profile, load)
    return found


def _application_problems(args: AppArgs, root: Path, profile: str, load: bool) -> Iterator[str]:
    from servables.signing import trusted_keys

    keys: tuple[str, ...] = ()
    try:
        keys = trusted_keys([root / path for path in args.trusted_keys])
    except MillraceError as error:
        load = False  # nobody could say whose code it is
        yield error.message
    for graph in args.graphs:
        try:
            _check(root / graph, root, profile or ("" if args.profile == "auto" else args.profile), load, keys)
        except ConfigError as error:
            yield error.message


def _router_problems(document: Document) -> Iterator[str]:
    for index, application in enumerate(document.data["applications"]):
        root = graphs_folder(application)
        args = AppArgs.model_validate(application.get("args", {})) if is_ours(application) else None
        if args is None or root is None or not args.routers:
            continue
        from deployments.routers import import_router  # imports Ray, which takes a second

        graphs = [str(load_document(root / graph).data.get("name")) for graph in args.graphs]
        for position, router in enumerate(args.routers):
            try:
                import_router(router, graphs)
            except ConfigError as error:
                yield str(document.problem(("applications", index, "args", "routers", position), error.message))


def main() -> None:
    """Entry point: an expected error is one message and exit code 1, never a stack trace."""
    sys.path.insert(0, os.getcwd())  # where `serve run` looks for the user's nodes too
    try:
        app()
    except MillraceError as error:
        err.print("[red]error:[/red]", end=" ")
        err.print(error.message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
