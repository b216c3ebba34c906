"""Remember a node's answers row by row, and compute equal rows that come at the same time only once."""

import asyncio
import hashlib
import math
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from configs.errors import RowErrors
from configs.tensors import Rows
from graphs.batcher import BatchTiming
from graphs.redis_rows import RedisRows, StoreAway
from graphs.run import Answer, NodeCall, Run

Key = bytes
MOST_ROWS = 1000
"""Of a request; one with more goes past the cache: finding its rows would hold up the event loop, and other requests,
for longer than some milliseconds, and remembering them would push out what is asked for often."""
_OVERHEAD_BYTES = 500
"""Of one remembered row beside its arrays: key, entry, array headers."""


class RowStore:
    """Answers by key in memory: the least recently used go when they are too many bytes, each when it is too old.

    Args:
        ttl_s: seconds that an answer is good for.
        max_bytes: most bytes of all answers.
    """

    def __init__(self, ttl_s: float, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s, self._max_bytes, self._clock = ttl_s, max_bytes, clock
        self._rows: OrderedDict[Key, tuple[float, int, Rows]] = OrderedDict()
        self.bytes = 0

    def get(self, key: Key) -> Rows | None:
        """The outputs of one row, each with a leading dimension of 1; None if unknown or too old."""
        entry = self._rows.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._forget(key)
            return None
        self._rows.move_to_end(key)
        return entry[2]

    def put(self, key: Key, row: Rows, left_s: float = math.inf) -> None:
        """Remember a row, no longer than `left_s`; the arrays must not be views of larger ones."""
        if key in self._rows:
            self._forget(key)
        size = _OVERHEAD_BYTES + sum(map(_array_bytes, row.values()))
        if size > self._max_bytes:
            return
        self._rows[key] = (self._clock() + min(self._ttl_s, left_s), size, row)
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._forget(next(iter(self._rows)))

    def _forget(self, key: Key) -> None:
        self.bytes -= self._rows.pop(key)[1]


class Cached:
    """A node's call that asks the node only for rows that are neither remembered nor being computed.

    If the request that computes a row fails (its deadline passes, another of its rows is bad), those that wait for
    the row compute it themselves: they are not harmed.

    Args:
        name: the node's, for the trace.
        version: gives that of the node's servable which answers now; part of every key, so a new version starts empty.
        shared: asked for what this process does not remember, and told what it computes.
        made_by: part of every key too.
    """

    def __init__(
        self,
        call: NodeCall,
        name: str,
        version: Callable[[], str],
        store: RowStore,
        shared: RedisRows | None = None,
        made_by: str = "",
    ) -> None:
        self._call, self._name, self._version, self._store, self._shared = call, name, version, store, shared
        self._made_by = made_by
        self._computing: dict[Key, asyncio.Future[Rows | None]] = {}

    async def __call__(self, rows: Rows, count: int, run: Run) -> Answer:
        """The node's outputs for `count` rows."""
        if count > MOST_ROWS:
            return await self._call(rows, count, run)
        version = self._version()
        keys = row_keys(rows, count, f"{self._name}\0{version}\0{self._made_by}".encode())
        found = self._known(keys)
        if hits := sum(key in found for key in keys):
            run.trace.events.append((self._name, "cache hit", hits))
        timing = BatchTiming(0.0, 0.0, {}, count)
        while missing := {key: index for index, key in enumerate(keys) if key not in found}:  # equal rows once
            others = {key: self._computing[key] for key in missing if key in self._computing}
            own = {key: index for key, index in missing.items() if key not in others}
            if own:  # before waiting for others, so that no two requests wait for each other
                computed, timing = await self._compute(own, version, rows, count, run)
                found |= computed
            for key, future in others.items():
                row = await asyncio.shield(future)
                if row is not None:
                    found[key] = row
            found |= self._known(key for key in missing if key not in found)  # another may have been quicker
        try:
            return {name: np.concatenate([found[key][name] for key in keys]) for name in found[keys[0]]}, timing
        except (KeyError, ValueError):  # the outputs' shapes depend on what else was in the call
            return await self._call(rows, count, run)

    def _known(self, keys: Iterable[Key]) -> dict[Key, Rows]:
        return {key: row for key in set(keys) if (row := self._store.get(key)) is not None}

    async def _compute(
        self, own: dict[Key, int], version: str, rows: Rows, count: int, run: Run
    ) -> tuple[dict[Key, Rows], BatchTiming]:
        for key in own:
            self._computing[key] = asyncio.get_running_loop().create_future()
        computed: dict[Key, Rows] = {}
        timing = BatchTiming(0.0, 0.0, {}, count)
        try:
            if self._shared is not None:
                computed |= await self._fetched(self._shared, list(own), run)
            order = sorted(own.keys() - computed.keys(), key=own.__getitem__)
            if not order:
                return computed, timing
            indices = [own[key] for key in order]
            asked = rows if len(order) == count else {name: array[indices] for name, array in rows.items()}
            try:
                outputs, timing = await self._call(asked, len(order), run)
            except RowErrors as error:
                raise error.at(indices) from None
            for at, key in enumerate(order):
                computed[key] = {name: array[at : at + 1].copy() for name, array in outputs.items()}
            if any(called.version != version for called in timing.compute_s):
                return computed, timing  # another version has taken over meanwhile: its answers have other keys
            for key in order:
                self._store.put(key, computed[key])
            if self._shared is not None:
                self._shared.put({key: computed[key] for key in order})
        finally:
            for key in own:
                self._computing.pop(key).set_result(computed.get(key))
        return computed, timing

    async def _fetched(self, shared: RedisRows, keys: list[Key], run: Run) -> dict[Key, Rows]:
        """What other processes remember."""
        try:
            rows = await shared.get(keys)
        except StoreAway:
            run.trace.events.append((self._name, "cache away", 1))
            return {}
        if rows:
            run.trace.events.append((self._name, "cache hit", len(rows)))
        for key, (row, left_s) in rows.items():
            self._store.put(key, row, left_s)
        return {key: row for key, (row, _) in rows.items()}


def row_keys(rows: Rows, count: int, salt: bytes) -> list[Key]:
    """A digest for each row: of its inputs' names, datatypes, shapes and bytes (BLAKE2b, RFC 7693)."""
    names = sorted(rows)
    head = hashlib.blake2b(salt, digest_size=20)
    for name in names:
        head.update(f"\0{name}\0{rows[name].dtype.str}{rows[name].shape[1:]}".encode())
    parts = [_row_bytes(rows[name], count) for name in names]
    keys = []
    for index in range(count):
        digest = head.copy()
        for part in parts:
            digest.update(part(index))
        keys.append(digest.digest())
    return keys


def _row_bytes(array: np.ndarray, count: int) -> Callable[[int], bytes | memoryview]:
    if array.dtype.hasobject:
        return lambda index: b"".join(map(_element, array[index : index + 1].flat))
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    size = len(data) // count
    return lambda index: data[index * size : (index + 1) * size]


def _element(item: bytes | str) -> bytes:
    """Length and type first, or two elements could run into each other."""
    if isinstance(item, bytes):
        return b"%db" % len(item) + item
    data = (item if isinstance(item, str) else repr(item)).encode(errors="surrogatepass")
    return b"%d%b" % (len(data), type(item).__name__.encode()) + data


def _array_bytes(array: np.ndarray) -> int:
    return array.nbytes + (sum(map(sys.getsizeof, array.flat)) if array.dtype.hasobject else 0)
