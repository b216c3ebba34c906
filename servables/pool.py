"""Many models in little memory: loads what is asked for, and lets go what was used longest ago."""

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

from configs.errors import DeadlineExceeded, MillraceError, ModelError, Unavailable
from configs.log import LOGGER
from servables.eviction import covers, victims
from servables.failures import Failures
from servables.files import one_line
from servables.memory import Memory
from servables.pooled import Counts, K, Load, Model, Source, V

T = TypeVar("T")

AT_ONCE = 4
"""Models that are loaded side by side."""
MEASURED_AT_ONCE = 16
"""Models whose sizes are asked for side by side."""

logger = logging.getLogger(LOGGER)


class Pool(Generic[K, V]):
    """Models in one process. Of the event loop in which it was made; only the source's methods run in threads.

    A model that is loaded is used at once, whatever is being loaded or waited for. Others are loaded side by side, one
    load for all who wait for the same model. A load begins when there is memory for what the model is expected to take,
    in the order in which they were asked for: a small one does not overtake a large one, which else might wait for
    ever. What is being loaded, used or closed counts. When a model takes more than was expected, others leave at once,
    and if all are in use, as soon as they are not.

    A load that nobody waits for any more is cancelled as long as it has not begun. Then it goes on, as a thread cannot
    be stopped, and the model stays: whoever gave up often asks again.

    Args:
        source: of the models.
        limit: bytes that all models together may take.
        executor: of all threads; by default some load and close (a hung close must leave threads for loads), others
            ask for sizes.
        clock: in seconds, that of deadlines.
    """

    def __init__(
        self,
        source: Source[K, V],
        limit: Memory,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = Counts()
        self._source, self._limit, self._clock = source, limit, clock
        self._executor: Executor = executor or ThreadPoolExecutor(2 * AT_ONCE, "millrace-pool")
        # Its own: to learn a model's size may mean to fetch it, which must not keep loads and closes waiting.
        self._measurers: Executor = executor or ThreadPoolExecutor(MEASURED_AT_ONCE, "millrace-pool-size")
        self._models: OrderedDict[K, Model[K, V]] = OrderedDict()
        """Those that can be used, the least recently used first."""
        self._loads: dict[K, Load[K, V]] = {}
        self._waiting: deque[Load[K, V]] = deque()
        """Loads that wait for room."""
        self._patient: deque[Load[K, V]] = deque()
        """Loads that wait for room when no other does."""
        self._measuring: dict[K, asyncio.Future[Memory]] = {}
        self._begun = 0
        self._gone: set[Model[K, V]] = set()
        """Models that nobody can begin to use: dropped and still in use, or being closed."""
        self._closing: set[asyncio.Task[None]] = set()
        self._taken = self._freed_soon = Memory()
        self._sizes: dict[K, Memory] = {}
        """What models took when they were loaded last."""
        self._failures: Failures[K] = Failures()
        self._closed: asyncio.Event | None = None

    @property
    def taken(self) -> Memory:
        """Bytes of all models, with what is kept for those that are being loaded."""
        return self._taken

    @property
    def loaded(self) -> list[K]:
        """Models that can be used at once, the least recently used first."""
        return list(self._models)

    @property
    def waiting(self) -> int:
        """Loads that wait for room."""
        return len(self._waiting) + len(self._patient)

    def __contains__(self, key: K) -> bool:
        """Whether the model can be used at once."""
        return key in self._models

    def is_loading(self, key: K) -> bool:
        """Whether a load of it has begun."""
        load = self._loads.get(key)
        return load is not None and load.begun

    @asynccontextmanager
    async def use(self, key: K, deadline: float = math.inf, patient: bool = False) -> AsyncIterator[V]:
        """The model, which stays until the end of this context.

        Do not ask for another model within: when all memory is in use, each of two would wait for the other.

        Args:
            deadline: on the pool's clock.
            patient: a load of it begins when no other waits for room. Such a use is not counted.

        Raises:
            MillraceError: what the source raised; other errors of its become ModelError. After a failure every use
                raises at once, for a pause that grows.
            ModelError: the model is larger than the pool.
            DeadlineExceeded: it was not loaded in time.
            Unavailable: the pool is closed.
        """
        model = self._models.get(key)
        if model is None:
            self.counts.misses += not patient
            model = await self._awaited(key, deadline, patient)
        else:
            self.counts.hits += not patient
            self._models.move_to_end(key)
            model.users += 1
        try:
            yield model.content
        finally:
            self._release(model)

    def drop(self, key: K) -> None:
        """Close the model when those who use it have ended; the next use loads it anew, without any pause."""
        self._failures.forget(key)
        self._sizes.pop(key, None)
        load = self._loads.get(key)
        if load is not None and load.begun:
            load.dropped = True
            del self._loads[key]
        model = self._models.pop(key, None)
        if model is not None:
            self._let_go(model)

    async def close(self) -> None:
        """Let nobody begin any more, wait until all uses have ended, and close the models."""
        if self._closed is None:
            self._closed = asyncio.Event()
            for key in [*self._loads, *self._models]:
                self.drop(key)
            for load in list(self._loads.values()):  # those that have not begun
                load.tell(Unavailable(f"model {load.key}: the pool is closed"))
                self._cancel(load)
            self._go_on()
        await self._closed.wait()
        self._executor.shutdown(wait=False)
        self._measurers.shutdown(wait=False)

    async def _awaited(self, key: K, deadline: float, patient: bool) -> Model[K, V]:
        if self._closed is not None:
            raise Unavailable(f"model {key}: the pool is closed")
        now = self._clock()
        self._failures.check(key, now)
        if deadline <= now:
            raise DeadlineExceeded(f"model {key} is not loaded, and the deadline has passed")
        load = self._loads.get(key) or self._begin(key)
        self._hasten(load, patient)
        waiter: asyncio.Future[Model[K, V]] = asyncio.get_running_loop().create_future()
        load.waiters.append(waiter)
        try:
            async with asyncio.timeout(None if deadline == math.inf else deadline - now):
                return await waiter
        except (asyncio.CancelledError, TimeoutError) as error:
            self._leave(load, waiter)
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(self._late(load, deadline - now)) from None
            raise

    def _late(self, load: Load[K, V], waited_s: float) -> str:
        if load.begun or load.room is None:  # fetched, to know its size
            return f"model {load.key} was not loaded in {waited_s:.3g} s; it may be there later"
        used = sum(model.users > 0 for model in (*self._models.values(), *self._gone))
        return (
            f"model {load.key} found no room in {waited_s:.3g} s: {self._taken} of {self._limit} are taken by "
            f"{len(self._models) + len(self._gone)} models, of which {used} are in use, and {self._begun} loads; "
            "give the pool more memory, or send fewer requests"
        )

    def _leave(self, load: Load[K, V], waiter: asyncio.Future[Model[K, V]]) -> None:
        """Somebody no longer waits."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._release(waiter.result())  # it came in the same moment
        if waiter in load.waiters:
            load.waiters.remove(waiter)
            if not load.waiters and not load.begun:
                self._cancel(load)
                self._go_on()

    def _hasten(self, load: Load[K, V], patient: bool) -> None:
        """It is as patient as the least patient of those who wait for it."""
        load.patient = patient and (load.patient or not load.waiters)
        if not load.patient and load in self._patient:
            self._patient.remove(load)
            self._waiting.append(load)
            self._go_on()

    def _begin(self, key: K) -> Load[K, V]:
        load = self._loads[key] = Load[K, V](key)
        load.task = asyncio.create_task(self._bring(load))
        return load

    def _cancel(self, load: Load[K, V]) -> None:
        """Before it has begun."""
        self._end(load)
        assert load.task is not None
        load.task.cancel()

    async def _bring(self, load: Load[K, V]) -> None:
        try:
            load.memory = await self._expected(load.key)
            self._refuse_larger(load.key, load.memory)
            load.room = asyncio.get_running_loop().create_future()
            (self._patient if load.patient else self._waiting).append(load)
            self._go_on()
            await load.room
            content, memory = await self._in_thread(self._source.load, load.key)
        except MillraceError as error:
            self._fail(load, error)
        except Exception as error:  # whatever a framework raises is why this model does not load
            logger.exception("model %s failed", load.key)
            self._fail(load, ModelError(f"model {load.key} does not load: {one_line(error)}"))
        except asyncio.CancelledError:
            if load.begun or self._loads.get(load.key) is load:  # not by `_cancel`, so by the model's own code
                self._fail(load, ModelError(f"model {load.key} does not load: its loading was cancelled"))
            raise
        else:
            self._arrive(load, content, memory)

    async def _expected(self, key: K) -> Memory:
        if (known := self._sizes.get(key)) is not None:
            return known
        if key not in self._measuring:  # for all who ask for it: a thread cannot be stopped when they give up
            loop = asyncio.get_running_loop()
            measuring = self._measuring[key] = loop.run_in_executor(self._measurers, self._source.expected, key)
            measuring.add_done_callback(partial(self._measured, key))
        return await asyncio.shield(self._measuring[key])

    def _measured(self, key: K, measuring: asyncio.Future[Memory]) -> None:
        del self._measuring[key]
        if not measuring.cancelled():
            measuring.exception()  # asked, or asyncio complains where all who waited have left

    def _refuse_larger(self, key: K, memory: Memory) -> None:
        if not memory.fits(self._limit):
            raise ModelError(
                f"model {key} takes {memory}, and all models of the pool together may take {self._limit}; "
                "give the pool more memory, or the model a node of its own"
            )

    def _fail(self, load: Load[K, V], error: MillraceError) -> None:
        self.counts.failures += 1
        self._end(load)
        load.tell(error if load.dropped else self._failures.add(load.key, error, self._clock()))
        self._go_on()

    def _arrive(self, load: Load[K, V], content: V, memory: Memory) -> None:
        model = Model(load.key, content, memory)
        self._taken += memory
        if not load.dropped:
            self._sizes[load.key] = memory
        try:
            self._refuse_larger(load.key, memory)
        except ModelError as error:
            self._let_go(model)
            self._fail(load, error)
            return
        self.counts.loads += 1
        self._failures.forget(load.key)
        self._end(load)
        load.give(model)
        if load.dropped:
            self._let_go(model)
        else:
            self._models[load.key] = model
        self._go_on()

    def _end(self, load: Load[K, V]) -> None:
        if self._loads.get(load.key) is load:
            del self._loads[load.key]
        for waiting in (self._waiting, self._patient):
            if load in waiting:
                waiting.remove(load)
        if load.begun:
            self._begun -= 1
            self._taken -= load.memory

    def _release(self, model: Model[K, V]) -> None:
        model.users -= 1
        if model.users:
            return
        if model.leaving:
            self._shut(model)
        else:
            self._models.move_to_end(model.key)
            self._go_on()

    def _go_on(self) -> None:
        """Begin the loads that there is room for, and make room for the next."""
        for model in self._idle_for(Memory(), all_or_none=False):
            self._evict(model)
        while (waiting := self._waiting or self._patient) and self._begun < AT_ONCE:
            load = waiting[0]
            if not (self._taken + load.memory).fits(self._limit):
                for model in self._idle_for(load.memory, all_or_none=True):
                    self._evict(model)
                break
            waiting.popleft()
            assert load.room is not None
            if not load.room.done():  # else its task was cancelled, as all are when their loop ends
                load.begun = True
                self._begun += 1
                self._taken += load.memory
                load.room.set_result(None)
        if self._closed is not None and not (self._models or self._loads or self._begun or self._gone):
            self._closed.set()

    def _idle_for(self, wanted: Memory, all_or_none: bool) -> list[Model[K, V]]:
        """Models to close so that there is room, beside those that are being closed."""
        shortage = (self._taken - self._freed_soon + wanted).beyond(self._limit)
        if shortage == Memory():
            return []
        chosen = victims((model for model in self._models.values() if not model.users), shortage)
        return chosen if covers(chosen, shortage) or not all_or_none else []

    def _evict(self, model: Model[K, V]) -> None:
        self.counts.evictions += 1
        del self._models[model.key]
        self._let_go(model)

    def _let_go(self, model: Model[K, V]) -> None:
        """Close a model that is no longer in the table, or have its last user do so."""
        model.leaving = True
        self._gone.add(model)
        if not model.users:
            self._shut(model)

    def _shut(self, model: Model[K, V]) -> None:
        self._freed_soon += model.memory
        task = asyncio.create_task(self._free(model))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _free(self, model: Model[K, V]) -> None:
        try:
            await self._in_thread(self._source.close, model.content)
        except Exception:  # a framework's, or the user's own: it is gone for us
            logger.exception("model %s could not be closed in good order", model.key)
        finally:
            del model.content  # a waiter that left may still hold the model
            self._gone.discard(model)
            self._freed_soon -= model.memory
            self._taken -= model.memory
            self._go_on()

    async def _in_thread(self, function: Callable[[Any], T], argument: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, argument)
