"""Asks a running server's admin API; each error is one line that says what to do."""

import json
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ValidationError

from configs.errors import MillraceError, Unauthorized, Unavailable
from configs.places import TOKEN_FILE, TOKEN_VARIABLE

TIMEOUT_S = 15.0
"""Longer than the server lets itself take."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token elsewhere."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


class _Version(BaseModel):
    version: int
    phase: str
    reason: str
    failures: int
    changed_at: float
    published: bool
    has_traffic: bool
    acknowledged: bool
    pinned: bool
    taken_out: bool


class _Servable(BaseModel):
    servable: str
    policy: str
    version: int | None
    wanted: int | None
    pinned: int | None
    versions: list[_Version]


class _Servables(BaseModel):
    servables: list[_Servable]


class _Transition(BaseModel):
    at: float
    version: int
    before: str | None
    after: str
    reason: str


class _History(BaseModel):
    history: list[_Transition]


class AdminClient:
    """Speaks for whoever has the token.

    Args:
        url: of the server, with the application's route prefix if it has one.
        token: None: what the file below the working directory holds.
    """

    def __init__(self, url: str, token: str | None) -> None:
        if not _is_url(url):
            raise MillraceError(f"--url {url}: write it as http://host:port")
        self._url, self._token = url.rstrip("/"), (token or _from_file()).strip()
        if not (self._token.isascii() and self._token.isprintable()):
            raise MillraceError("the token has characters that no token has; copy it again")
        # No proxy: it would see the token.
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))

    def servables(self) -> list[dict[str, Any]]:
        """All servables and their versions."""
        found: list[dict[str, Any]] = self._checked(self._ask(""), _Servables)["servables"]
        return found

    def servable(self, name: str) -> dict[str, Any]:
        """One servable and its versions."""
        found: dict[str, Any] = self._checked(self._ask(f"/{quote(name, safe='')}"), _Servable)
        return found

    def history(self, name: str, limit: int) -> list[dict[str, Any]]:
        """What happened to a servable's versions, the last first."""
        found: list[dict[str, Any]] = self._checked(
            self._ask(f"/{quote(name, safe='')}/history?limit={limit}"), _History
        )["history"]
        return found

    def change(self, name: str, action: str, version: int | None = None) -> dict[str, Any]:
        """Have the server do something; gives the servable as it is then."""
        body = {} if version is None else {"from" if action == "rollback" else "version": version}
        found: dict[str, Any] = self._checked(
            self._ask(f"/{quote(name, safe='')}/{action}", json.dumps(body).encode()), _Servable
        )
        return found

    def _checked(self, answer: Any, shape: type[BaseModel]) -> Any:
        """The answer, if it has at least what this client reads."""
        try:
            shape.model_validate(answer)
        except ValidationError:
            raise self._foreign() from None
        return answer

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self._url}/admin/servables{path}", body, headers)
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as response:
                return json.load(response)
        except HTTPError as error:
            raise self._refusal(error) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error) or type(error).__name__
            raise Unavailable(
                f"no server answers at {self._url} ({reason}); start it by `millrace run`, or name it by --url"
            ) from None
        except ValueError:
            raise self._foreign() from None

    def _refusal(self, error: HTTPError) -> MillraceError:
        try:
            said = str(json.load(error)["error"])
        except (ValueError, KeyError, TypeError, OSError):
            return Unavailable(f"{self._url}: HTTP {error.code}") if error.code >= 500 else self._foreign()
        if error.code == 401:
            return Unauthorized(
                f"{self._url} does not take this token; give the server's by --token, {TOKEN_VARIABLE}, or from the "
                f"folder that has its {TOKEN_FILE}"
            )
        return Unavailable(said) if error.code == 503 else MillraceError(said)

    def _foreign(self) -> MillraceError:
        return MillraceError(f"{self._url} is no Millrace server with an admin API; name another by --url")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:  # of an address or a port
        return False


def _from_file() -> str:
    try:
        return TOKEN_FILE.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no token"
        raise MillraceError(
            f"no admin token: give it by --token or {TOKEN_VARIABLE}, or run this in the folder that has the server's "
            f"{TOKEN_FILE} ({reason})"
        ) from None
