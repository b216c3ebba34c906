"""`millrace models`: publish versions of models, list them, verify them; and what servers do with them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from cli import versions
from configs.errors import ModelError
from servables.base import LoadOptions
from servables.load import detect
from servables.pull import pull_model
from servables.push import Pushed, push_model
from servables.store import ROOT, Found, list_models, scan, verify_model
from servables.versions import State

app = typer.Typer(
    help="Publish models as versions in a folder; list and verify them; see and steer them on a running server.",
    no_args_is_help=True,
)
app.add_typer(versions.app)
out = Console()
err = Console(stderr=True)

LARGE_BYTES = 64 << 20
"""Below, a copy is too short to show how far it is."""

Root = Annotated[Path, typer.Option(help="Folder that holds one folder a model.")]


@app.command()
def push(
    path: Annotated[Path, typer.Argument(help="The model's file, or a folder with its files.")],
    name: Annotated[str, typer.Argument(help="Name of the model: its folder in --root.")],
    version: Annotated[int | None, typer.Option(help="The version's number (default: one more than the last).")] = None,
    root: Root = ROOT,
    load: Annotated[bool, typer.Option(help="Load the model on the CPU before it is published.")] = True,
    format: Annotated[str | None, typer.Option(help="The format, where the files could be several.")] = None,
    trust: Annotated[str | None, typer.Option(help="`pickle`: it may be loaded though that can run any code.")] = None,
    sign: Annotated[
        Path | None, typer.Option(help="Sign it with this Ed25519 private key, in PEM, for `trusted_keys`.")
    ] = None,
) -> None:
    """Copy a model as a new version, complete or not at all, with digests. Exit code 1 if nothing was published."""
    options = _options(load, trust)
    with _progress() as progress:
        pushed = push_model(
            path, name, root, version, format=format, options=options, private_key=sign, progress=progress
        )
    _say(_published(pushed))
    _say(_next_step(pushed))


@app.command()
def pull(
    source: Annotated[str, typer.Argument(help="URL of a model's folder, or `mlflow:<registered model>`.")],
    name: Annotated[str, typer.Argument(help="Name of the model: its folder in --root.")],
    version: Annotated[int | None, typer.Option(help="The version's number there (default: the greatest).")] = None,
    root: Root = ROOT,
    load: Annotated[bool, typer.Option(help="Load the model on the CPU before it is published.")] = True,
    trust: Annotated[str | None, typer.Option(help="`pickle`: it may be loaded though that can run any code.")] = None,
) -> None:
    """Fetch a version, complete or not at all, under the number it has there. Exit code 1 if nothing was published."""
    options = _options(load, trust)
    with _progress() as progress:
        pushed = pull_model(source, name, root, version, options=options, progress=progress)
    _say(_published(pushed))
    _say(_next_step(pushed))


@app.command("list")
def list_(
    root: Root = ROOT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show every version of every model, and why some do not count."""
    found = list_models(root)
    if as_json:
        print(json.dumps([_fields(each) for each in found], indent=2))
        return
    if not found:
        _say(f"{root} holds no versions; publish one: millrace models push PATH NAME --root {root}")
        return
    table = Table()
    for column in ("model", "version", "format", "size", "sha256", "state"):
        table.add_column(column, overflow="fold", justify="right" if column in ("version", "size") else "left")
    for each in found:
        table.add_row(*map(escape, _cells(each)))
    out.print(table)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[int | None, typer.Argument(help="The version's number (default: all).")] = None,
    root: Root = ROOT,
) -> None:
    """Read every file and compare it with its digest. Exit code 1 if a version is not what was pushed."""
    problems = verify_model(name, version, root)
    for number, problem in problems.items():
        if problem:
            err.print(f"[red]✗[/red] {name} {number}", highlight=False)
            err.print(problem, markup=False, highlight=False, soft_wrap=True)
        else:
            out.print(f"[green]✓[/green] {name} {number}", highlight=False)
    raise typer.Exit(1 if any(problems.values()) else 0)


def _options(load: bool, trust: str | None) -> LoadOptions | None:
    if trust not in (None, "pickle"):
        raise ModelError(f"--trust {trust}: the only value is `pickle`")
    trusted: Literal["pickle"] | None = "pickle" if trust else None
    return LoadOptions(trust=trusted) if load else None


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _published(pushed: Pushed) -> str:
    version, digests = pushed.version, pushed.digests
    what = f"{pushed.format}, {decimal(digests.size)}, sha256 {digests.digest[:12]}"
    return f"{version.name} version {version.number} is published: {version.path} ({what})"


def _next_step(pushed: Pushed) -> str:
    version = pushed.version
    newest = next(
        found.number for found in scan(version.path.parent, time.time()) if found.judgement.state is State.WHOLE
    )
    if newest != version.number:
        return f"Version {newest} is newer; a node serves this one with `version: {version.number}`."
    return (
        f"Servers that serve {version.path.parent} take it over by themselves, as a rule within seconds; "
        f"a graph's node serves it by `{_KIND.get(pushed.format, 'model')}: {version.path.parent}`."
    )


_KIND = {"lookup": "lookup", "index": "retrieve"}
"""Format → the key of the node that serves it, where that is not `model`."""


def _fields(found: Found) -> dict[str, Any]:
    judgement = found.judgement
    return {
        "model": found.model,
        "version": found.number,
        "path": str(found.path),
        "format": _format(found),
        "size": judgement.size,
        "sha256": judgement.digests.digest if judgement.digests else None,
        "state": judgement.state.value,
        "reason": judgement.reason,
    }


def _cells(found: Found) -> list[str]:
    judgement = found.judgement
    number = found.path.name if found.number is None else str(found.number)
    size = "" if judgement.size is None else decimal(judgement.size)
    digest = judgement.digests.digest[:12] if judgement.digests else ""
    reason = judgement.reason.replace(str(found.path), "").strip(" /:")
    state = f"{judgement.state}: {reason}" if reason else judgement.state.value
    return [found.model, number, _format(found) or "", size, digest, state]


def _format(found: Found) -> str | None:
    if found.judgement.state is State.BROKEN:
        return None
    try:
        return detect(found.path).NAME
    except ModelError:
        return None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar for large copies; without a terminal, a line at each quarter."""
    columns = (TextColumn("copying"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("copying", visible=False)
        done = 0

        def advance(size: int, total: int) -> None:
            nonlocal done
            quarters, done = 4 * done // total, done + size
            if total < LARGE_BYTES:
                return
            bar.update(task, completed=done, total=total, visible=True)
            if not err.is_terminal and 4 * done // total > quarters:
                err.print(f"copied {decimal(done)} of {decimal(total)}", highlight=False)

        yield advance
