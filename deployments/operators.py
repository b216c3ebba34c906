"""Control's side of the admin API: checks the operator's token, has it carried out, counts what happens to versions."""

import asyncio
import hmac
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from configs.errors import MillraceError, Unauthorized
from configs.log import LOGGER
from configs.places import TOKEN_FILE, TOKEN_VARIABLE
from configs.versions import Versions
from deployments.operations import Action, Answer, Operation, Operations
from rollouts.store import StateStore

logger = logging.getLogger(LOGGER)


class Operator:
    """Whoever has the token may do everything that `Operations` does.

    Args:
        root: of the application.
        changed: called when what is wanted is another.
    """

    def __init__(
        self, store: StateStore, policies: Mapping[str, Versions], root: Path, changed: Callable[[], None]
    ) -> None:
        self._operations, self._changed = Operations(store, policies), changed
        self._token = admin_token(root)

    async def answer(self, token: str, asked: Operation, acknowledged: Mapping[str, int]) -> Answer | MillraceError:
        """As `Operations.carry_out`. Errors are returned: raised, Ray would wrap them."""
        try:
            self._check(token)
            answer = await asyncio.to_thread(self._operations.carry_out, asked, acknowledged)
        except MillraceError as error:
            return error
        if asked.action not in (Action.LIST, Action.HISTORY):
            self._changed()
        return answer

    def _check(self, token: str) -> None:
        if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise Unauthorized(NO_TOKEN if not token else "this is not the admin token of this server; " + _WHERE)


_WHERE = (
    f"send `authorization: Bearer …` with the value of {TOKEN_VARIABLE} where control runs, "
    f"or else with what is in the file {TOKEN_FILE} below the application's root"
)
NO_TOKEN = f"the admin API needs a token: {_WHERE}"


def admin_token(root: Path) -> str:
    """The token: of the environment, else of the file, which is made if there is none; "" if it cannot be. Blocks."""
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return token
    path = root / TOKEN_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        logger.warning("no admin token: %s cannot be used (%s); set %s where control runs", path, error, TOKEN_VARIABLE)
        return ""


def _make(path: Path) -> None:
    """Under another name first: whoever reads it, or makes it at the same time, gets a whole one, and the same."""
    writing = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(writing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(writing, path)
        except FileExistsError:
            return
        logger.info("the admin API's token is in %s", path)
    finally:
        writing.unlink(missing_ok=True)
