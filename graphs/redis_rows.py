"""Rows that several processes remember together, in Redis: a help where it answers at once, never a hindrance."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any

from configs.errors import ConfigError
from configs.log import LOGGER
from configs.tensors import Rows
from graphs import row_bytes
from servables.extras import require

logger = logging.getLogger(LOGGER)

ANSWER_WITHIN_S = 0.02
"""A request goes on without Redis after so long. A look-up takes under a millisecond; the rest is for a busy loop."""
CONNECT_WITHIN_S = 2.0
TRY_AGAIN_S = 1.0
"""Pause before a store that did not answer is asked again; no request waits for that."""
MOST_WRITES = 64
"""Calls whose rows are on their way to the store at a time; those of further calls are not remembered there."""
_PREFIX = b"millrace:"
_EXPIRY = Struct("<d")


class StoreAway(Exception):
    """The store does not answer; the rows have to be computed."""


class RedisRows:
    """Rows by key in Redis, each with the time when it is too old. Used from one event loop.

    Args:
        url: `redis://host:port/db`, also `rediss://` and `unix://`.
        ttl_s: seconds that a row is good for.
        clock: wall time, which all processes share.

    Raises:
        MissingExtra: the extra `redis` is not installed.
        ConfigError: the URL is none of Redis's.
    """

    def __init__(self, url: str, ttl_s: float, clock: Callable[[], float] = time.time) -> None:
        redis = require("redis.asyncio", "redis")
        self._lost: tuple[type[Exception], ...] = (require("redis", "redis").RedisError, OSError, TimeoutError)
        # Without tries of its own: they are `_find`'s. Protocol 2 is what every server speaks.
        limits = {"socket_connect_timeout": CONNECT_WITHIN_S, "socket_timeout": CONNECT_WITHIN_S}
        try:
            self._client: Any = redis.Redis.from_url(url, protocol=2, retry=None, **limits)
        except ValueError as error:  # whose text does not show the URL, which may hold a password
            raise ConfigError(f"the `store` of a cache is no URL of Redis: {error}") from None
        self._ttl_s, self._clock = ttl_s, clock
        self._found = False
        self._finding: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[None]] = set()

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, tuple[Rows, float]]:
        """Those of the rows that are remembered, with the seconds that each is still good for. Raises StoreAway."""
        if not self._found:
            self._look_for_it()
            raise StoreAway
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                values = await self._client.mget([_PREFIX + key for key in keys])
        except self._lost as error:
            self._lose(error)
            raise StoreAway from error
        read = {key: self._read(value) for key, value in zip(keys, values, strict=True) if value is not None}
        return {key: row for key, row in read.items() if row is not None}

    def put(self, rows: Mapping[bytes, Rows]) -> None:
        """Remember rows, some time soon; without a store, and for elements that have no form in bytes, not at all."""
        if not self._found or len(self._writes) >= MOST_WRITES:
            return
        try:
            expiry = _EXPIRY.pack(self._clock() + self._ttl_s)
            packed = {_PREFIX + key: expiry + row_bytes.pack(row) for key, row in rows.items()}
        except TypeError:
            return
        task = asyncio.get_running_loop().create_task(self._write(packed))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def close(self) -> None:
        """Give up the connection."""
        for task in (self._finding, *self._writes):
            if task is not None:
                task.cancel()
        await self._client.aclose()

    async def _write(self, packed: Mapping[bytes, bytes]) -> None:
        try:
            pipeline = self._client.pipeline(transaction=False)
            for key, value in packed.items():
                pipeline.set(key, value, px=max(int(self._ttl_s * 1e3), 1))
            await pipeline.execute()
        except self._lost as error:
            self._lose(error)

    def _read(self, value: bytes) -> tuple[Rows, float] | None:
        """A row and how long it is good for; None if it is too old, or was written by another version of this."""
        try:
            (expiry,) = _EXPIRY.unpack_from(value)
            row = row_bytes.unpack(value[_EXPIRY.size :])
        except Exception:  # whatever lies in a store that others write to is no reason to fail
            logger.debug("a value in Redis is not ours", exc_info=True)
            return None
        left_s = expiry - self._clock()
        return (row, left_s) if left_s > 0 else None

    def _lose(self, error: Exception) -> None:
        if self._found:
            logger.warning("Redis does not answer (%s); nodes are computed without it", type(error).__name__)
        self._found = False
        self._look_for_it()

    def _look_for_it(self) -> None:
        if self._finding is None or self._finding.done():
            self._finding = asyncio.get_running_loop().create_task(self._find())

    async def _find(self) -> None:
        while not self._found:
            try:
                await self._client.ping()
                self._found = True
            except self._lost:
                await asyncio.sleep(TRY_AGAIN_S)
