"""What Serve says about itself while it starts: asked over HTTP, or read from the end of its log."""

import http.client
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

from configs.errors import reason

# Ray takes the next free port if 8265 is taken, so the log is the only place that knows.
_DASHBOARD = re.compile(r"View the dashboard at\D*(http://[\w.:]+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# A proxy that the environment names is for other machines.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_FAILED = "DEPLOY_FAILED"
_RUNNING = "RUNNING"


class Failed(Exception):
    """An application could not be deployed. One argument: the reason that Serve gives."""


def is_ready(url: str) -> bool:
    """Whether this URL answers 200 now."""
    return _get(url) is not None


def deploying(log: Path) -> str:
    """One line on what is being waited for; empty if Serve says nothing. Raises Failed if it has given up."""
    waiting = []
    for application in _applications(log):
        _check(application)
        waiting += [_line(item) for item in application["deployments"].values() if item["status"] != "HEALTHY"]
    return "; ".join(waiting)


def all_run(log: Path) -> bool:
    """Whether Serve says that it has applications and that each of them runs."""
    statuses = {application["status"] for application in _applications(log)}
    return statuses == {_RUNNING}


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log."""
    return "\n".join(_COLOURS.sub("", log.read_text(errors="replace")).splitlines()[-lines:])


def _applications(log: Path) -> list[dict[str, Any]]:
    """What Serve's REST API says of each application; nothing while it does not answer."""
    dashboard = _DASHBOARD.search(_COLOURS.sub("", log.read_text(errors="replace")))
    answer = _get(f"{dashboard[1]}/api/serve/applications/") if dashboard else None
    return list(json.loads(answer)["applications"].values()) if answer is not None else []


def _check(application: dict[str, Any]) -> None:
    if application["status"] == _FAILED:
        said = [item["message"] for item in application["deployments"].values() if item["status"] == _FAILED]
        raise Failed(f"application {application['name']}: {reason([application['message'], *said])}")


def _line(deployment: dict[str, Any]) -> str:
    first = deployment["message"].partition("\n")[0]
    return f"{deployment['name']}: {first}" if first else f"{deployment['name']} starts"


def _get(url: str) -> bytes | None:
    """Body of a 200 answer; None for everything else, as nobody may listen yet."""
    try:
        with _DIRECT.open(url, timeout=2) as answer:
            return answer.read() if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
