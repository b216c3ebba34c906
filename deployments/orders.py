"""What control and gateways tell each other: which versions gateways shall hold and use, and which they do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from rollouts.life import Key


class Degree(IntEnum):
    """How far a gateway has come with a version."""

    CLOSING = 0
    LOADED = 1
    WARM = 2
    READY = 3
    """It fits the graph: requests may be sent to it."""


@dataclass(frozen=True)
class Orders:
    """What control wants of every gateway of its configuration."""

    serial: int
    """Grows, also from one control to the next: a gateway that has these orders follows no older ones."""
    revision: int
    routes: Mapping[str, Key]
    """Servable → the version that has the traffic."""
    hold: Mapping[Key, int]
    """Versions to have at hand → the serial of the orders before those that asked for it, which numbers the attempt.

    One that failed is not tried again before that changes.
    """
    failure: str = ""
    """Why a gateway that starts need not wait any longer for a version that works."""


@dataclass(frozen=True)
class Report:
    """What one gateway does."""

    gateway: str
    """Name of its actor."""
    configuration: str
    number: int = 0
    """Grows: an older report may arrive after a newer one."""
    revisions: Mapping[str, int] = field(default_factory=dict)
    """Servable → it has begun no call of another version than these routes name for as long as any is under way."""
    held: Mapping[Key, Degree] = field(default_factory=dict)
    failed: Mapping[Key, tuple[int, str]] = field(default_factory=dict)
    """Version → the attempt that failed, and why."""
    joining: bool = True
    """It does not answer requests yet."""
