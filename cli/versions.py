"""`millrace models status|history|load|rollback|unload`: versions on a running server."""

import json
import time
from contextlib import nullcontext
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.admin_client import AdminClient
from cli.takeover import Takeover
from configs.errors import MillraceError
from configs.places import TOKEN_VARIABLE

app = typer.Typer()
out = Console()
err = Console(stderr=True)

Servable = Annotated[str, typer.Argument(help="Name of the servable: `graph.node`.")]
Url = Annotated[str, typer.Option(help="The server, with the application's route prefix if it has one.")]
Token = Annotated[
    str | None,
    typer.Option(envvar=TOKEN_VARIABLE, help="The admin token (default: what .millrace/admin.token here holds)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
URL = "http://127.0.0.1:8000"


@app.command()
def status(
    servable: Annotated[str | None, typer.Argument(help="`graph.node` (default: all).")] = None,
    url: Url = URL,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show which versions a running server has, how far each has come, and which has the traffic."""
    client = AdminClient(url, token)
    found = client.servables() if servable is None else [client.servable(servable)]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = _table("servable", "version", "phase", "traffic", "since", "notes")
    for each in found:
        for version in each["versions"]:
            table.add_row(each["servable"], *map(escape, _cells(version)))
    out.print(table)
    for each in found:
        if each["pinned"] is not None:
            _say(
                f"{each['servable']} is pinned to version {each['pinned']}; `millrace models load {each['servable']}` "
                f"goes back to the policy ({each['policy']})."
            )


@app.command()
def history(
    servable: Servable,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most entries.")] = 20,
    url: Url = URL,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show what happened to the versions of a servable, the last first."""
    entries = AdminClient(url, token).history(servable, limit)
    if as_json:
        print(json.dumps(entries, indent=2))
        return
    table = _table("at", "version", "before", "after", "reason")
    for each in entries:
        cells = _time(each["at"]), str(each["version"]), each["before"] or "", each["after"], each["reason"]
        table.add_row(*map(escape, cells))
    out.print(table)


@app.command()
def load(
    servable: Servable,
    version: Annotated[int | None, typer.Argument(help="Its number (default: as the policy says).", min=0)] = None,
    url: Url = URL,
    token: Token = None,
) -> None:
    """Give the traffic to a version and keep it there; without a number, let the policy say again.

    Ends when every gateway uses it; exit code 1 if it failed.
    """
    _change(AdminClient(url, token), servable, "load", version)


@app.command()
def rollback(
    servable: Servable,
    leave: Annotated[
        int | None,
        typer.Option(
            "--from", help="The version to leave (default: what has the traffic); done if it has left.", min=0
        ),
    ] = None,
    url: Url = URL,
    token: Token = None,
) -> None:
    """Give the traffic back to the version that had it before, and keep it there.

    Ends when every gateway uses it; exit code 1 if it failed.
    """
    client = AdminClient(url, token)
    leave = client.servable(servable)["version"] if leave is None else leave
    if leave is None:
        raise MillraceError(f"{servable}: no version has the traffic, so that there is none to leave")
    _change(client, servable, "rollback", leave)


@app.command()
def unload(
    servable: Servable,
    version: Annotated[int, typer.Argument(help="Its number.", min=0)],
    url: Url = URL,
    token: Token = None,
) -> None:
    """Take a version out: another takes over if it has the traffic, then its memory is freed.

    Ends when it is gone; exit code 1 if that failed.
    """
    _change(AdminClient(url, token), servable, "unload", version)


def _change(client: AdminClient, servable: str, action: str, version: int | None = None) -> None:
    began, leaving = time.monotonic(), version if action == "unload" else None
    takeover = Takeover(client, servable, _say)
    begun = client.change(servable, action, version)
    with err.status(f"version {begun['wanted']} …") if err.is_terminal else nullcontext():
        now = takeover.follow(begun, leaving)
    gone = "" if leaving is None else f"version {leaving} is taken out; "
    took = f"{time.monotonic() - began:.1f} s"
    _say(f"{servable}: {gone}version {now['version']} has the traffic in every gateway ({took})")


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        justify: Literal["left", "right"] = "right" if column == "version" else "left"
        table.add_column(column, overflow="fold", justify=justify, no_wrap=column in ("since", "at"))
    return table


def _cells(version: dict[str, Any]) -> tuple[str, str, str, str, str]:
    traffic = ("yes" if version["acknowledged"] else "taking over") if version["has_traffic"] else ""
    notes = [words for key, words in _NOTES.items() if version[key]]
    if not version["published"]:
        notes.append("no longer published")
    if version["failures"]:
        notes.append(f"failed {version['failures']}×: {version['reason']}")
    return str(version["version"]), version["phase"], traffic, _time(version["changed_at"]), "; ".join(notes)


_NOTES = {"pinned": "pinned", "taken_out": "taken out"}


def _time(seconds: float) -> str:
    """Local time; JSON has the seconds since 1970."""
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
