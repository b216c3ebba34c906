"""The state in a dictionary: as `StateStore`, for tests that make tens of thousands of changes."""

from collections.abc import Collection, Mapping, Set
from dataclasses import replace

from configs.versions import Versions
from rollouts.life import Key, Life, Phase
from rollouts.plan import Reroute
from rollouts.policy import Wish
from rollouts.store import Routes, Transition


class MemoryStore:
    """Nothing fails here, and nothing is lost."""

    def __init__(self) -> None:
        self._lives: dict[Key, Life] = {}
        self._revision = 0
        self._history: list[Transition] = []
        self._pins: dict[str, int] = {}

    def lives(self) -> dict[str, list[Life]]:
        found: dict[str, list[Life]] = {}
        for life in self._lives.values():
            found.setdefault(life.key.servable, []).append(life)
        return found

    def life(self, key: Key) -> Life:
        return self._lives[key]

    def observe(self, published: Mapping[str, Collection[Key]], up: Set[Key], now: float) -> None:
        for key in sorted({*up, *(key for keys in published.values() for key in keys)} - set(self._lives)):
            self._lives[key] = Life(key, published=False)
            self._history.append(Transition(key, now, None, Phase.DISCOVERED, ""))
        for key in self._lives:
            if key.servable in published:
                self._lives[key] = replace(self._lives[key], published=key in published[key.servable])

    def save(self, before: Life, after: Life, now: float) -> None:
        assert self._lives[before.key] == before
        self._lives[before.key] = after
        if after.phase is not before.phase:
            self._history.append(Transition(after.key, now, before.phase, after.phase, after.reason))

    def reroute(self, change: Reroute, now: float) -> int:
        self._revision = max(self._revision + 1, int(now * 1000))
        for life in list(self._lives.values()):
            if life.current and life.key.servable == change.servable and life.key != change.to:
                left = life.moved(Phase.DRAINING) if life.phase is Phase.ROUTED else life
                self.save(life, replace(left, current=False, revision=self._revision), now)
        if change.to is not None:
            life = self._lives[change.to]
            self.save(life, replace(life.moved(Phase.ROUTED), current=True, revision=self._revision), now)
        return self._revision

    def routes(self) -> Routes:
        return Routes(self._revision, {life.key.servable: life.key for life in self._lives.values() if life.current})

    def history(self, servable: str, limit: int = 100) -> list[Transition]:
        return [each for each in reversed(self._history) if each.key.servable == servable][:limit]

    def pins(self) -> dict[str, int]:
        return dict(self._pins)

    def pin(self, servable: str, number: int | None) -> None:
        self._pins.pop(servable, None)
        if number is not None:
            self._pins[servable] = number

    def wishes(self, policies: Mapping[str, Versions]) -> dict[str, Wish]:
        return {name: Wish(policy, self._pins.get(name)) for name, policy in policies.items()}

    def lead(self, _application: str, _now: float) -> int:
        return 1

    def leads(self, leader: int) -> bool:
        return leader == 1

    def close(self) -> None:
        pass
