"""Follows a servable on a running server until what an operator asked for is done, and tells each step."""

import time
from collections.abc import Callable
from typing import Any

from cli.admin_client import AdminClient
from configs.errors import MillraceError, Unavailable

POLL_S = 0.3
AWAY_S = 60.0
"""How long a server that does not answer is waited for, as while control is restarted."""
_RECENT = 200
"""Entries of the history that are looked at each time; no more happens between two looks."""
_GONE = ("discovered", "unloaded", "failed")


class Takeover:
    """What happens to a servable's versions from now on.

    Args:
        tell: is given each step in words.
    """

    def __init__(self, client: AdminClient, servable: str, tell: Callable[[str], None]) -> None:
        self._client, self._servable, self._tell = client, servable, tell
        self._seen = {_identity(each) for each in client.history(servable, _RECENT)}

    def follow(self, begun: dict[str, Any], leaving: int | None = None) -> dict[str, Any]:
        """Wait until the version that shall have the traffic has it in every gateway; gives the servable then.

        Args:
            begun: the servable as the change left it.
            leaving: a version that is to be gone too.

        Raises:
            MillraceError: that version failed; the message has its reason.
            Unavailable: the server is away.
        """
        target = begun["wanted"]
        if target is None:
            raise MillraceError(f"{self._servable}: there is no version that could have the traffic; publish one")
        while True:
            now, failure = self._patiently(lambda: self._look(target))
            if failure:
                raise MillraceError(self._failed(target, failure, now))
            if _settled(now) and _is_gone(now, leaving):
                return now
            time.sleep(POLL_S)

    def _look(self, target: int) -> tuple[dict[str, Any], str]:
        """The servable, and why its new version failed if it did; tells what happened since the last look."""
        now, failure = self._client.servable(self._servable), ""
        for each in reversed(self._client.history(self._servable, _RECENT)):
            if _identity(each) in self._seen:
                continue
            self._seen.add(_identity(each))
            self._tell(f"version {each['version']}: {each['after']}{': ' if each['reason'] else ''}{each['reason']}")
            if each["version"] == target and each["after"] == "failed":
                failure = each["reason"]
        return now, failure

    def _patiently(self, look: Callable[[], tuple[dict[str, Any], str]]) -> tuple[dict[str, Any], str]:
        until = time.monotonic() + AWAY_S
        while True:
            try:
                return look()
            except Unavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL_S)

    def _failed(self, target: int, reason: str, now: dict[str, Any]) -> str:
        serving = "no version" if now["version"] is None else f"version {now['version']}"
        undo = f"; `millrace models load {self._servable}` gives that up" if now["pinned"] == target else ""
        return (
            f"{self._servable} version {target} failed: {reason}\n"
            f"{serving} has the traffic; version {target} is tried again with growing pauses{undo}"
        )


def _identity(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.values())


def _settled(servable: dict[str, Any]) -> bool:
    """Whether every gateway uses the version that shall have the traffic, and no other."""
    return servable["version"] == servable["wanted"] and all(
        each["acknowledged"] for each in servable["versions"] if each["has_traffic"]
    )


def _is_gone(servable: dict[str, Any], version: int | None) -> bool:
    return all(each["phase"] in _GONE for each in servable["versions"] if each["version"] == version)
