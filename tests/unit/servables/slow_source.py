"""A source of models, and threads, that do what they are asked for only when the test says so."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from configs.errors import ModelError
from servables.memory import Memory


@dataclass(eq=False)
class Loaded:
    """A model; `closed` is set by the source."""

    key: str
    closed: bool = False


class Work:
    """One call of the source that a thread would make."""

    def __init__(self, future: Future[Any], name: str, argument: Any, call: Callable[[], Any]) -> None:
        self.future, self.name, self._call = future, name, call
        self.key: str = argument.key if isinstance(argument, Loaded) else argument

    def __str__(self) -> str:
        return f"{self.name} {self.key}"

    def end(self, error: BaseException | None = None) -> None:
        """Make the call, or fail instead."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            if error is not None:
                raise error
            self.future.set_result(self._call())
        except BaseException as raised:  # noqa: BLE001  as a thread pool does
            self.future.set_exception(raised)


class Threads(Executor):
    """Keeps what it is to do; the sizes of models are asked for at once."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        work = Work(Future(), function.__name__, arguments[0], lambda: function(*arguments))
        if work.name == "expected":
            work.end()
        else:
            self.works.append(work)
        return work.future

    def end(self, text: str, error: BaseException | None = None) -> None:
        """End the oldest work of this kind, as in `load a`."""
        work = next(work for work in self.works if str(work) == text)
        self.works.remove(work)
        work.end(error)

    @property
    def under_way(self) -> list[str]:
        """What is to be done, the oldest first."""
        return [str(work) for work in self.works]


class Models:
    """Models whose expected and true sizes are in two tables; those that are in neither have no files."""

    def __init__(self, sizes: dict[str, int], misjudged: dict[str, int] | None = None) -> None:
        self.sizes, self.misjudged = sizes, misjudged or {}
        self.alive: list[Loaded] = []

    def expected(self, key: str) -> Memory:
        if key not in self.sizes:
            raise ModelError(f"{key} has no version")
        return Memory(self.sizes[key])

    def load(self, key: str) -> tuple[Loaded, Memory]:
        model = Loaded(key)
        self.alive.append(model)
        return model, Memory(self.size(key))

    def size(self, key: str) -> int:
        return self.misjudged.get(key, self.sizes[key])

    def close(self, model: Loaded) -> None:
        assert not model.closed
        model.closed = True
        self.alive.remove(model)
