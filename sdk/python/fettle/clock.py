"""Time and chance, handed in, so that a test can move the one and fix the other."""

from __future__ import annotations

import random
import threading
import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> float:
        """Milliseconds on a clock that never goes back; only differences mean anything."""

    def wall_ms(self) -> float:
        """The wall clock, in milliseconds since 1970."""

    def random(self) -> float:
        """Uniform in [0, 1)."""

    def wait(self, event: threading.Event, ms: float) -> bool:
        """Waits until the event is set or `ms` are over; whether it is set."""


class SystemClock:
    def now_ms(self) -> float:
        return time.monotonic() * 1000

    def wall_ms(self) -> float:
        return time.time() * 1000

    def random(self) -> float:
        return random.random()

    def wait(self, event: threading.Event, ms: float) -> bool:
        # A wait of more than some weeks overflows; whoever waits that long looks again.
        return event.wait(min(max(ms, 0), threading.TIMEOUT_MAX * 500) / 1000)


def rfc3339(wall_ms: float) -> str:
    at = datetime.fromtimestamp(wall_ms / 1000, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_of(at: datetime | None) -> str | None:
    """A time without a zone counts as local, as everywhere in Python."""
    return None if at is None else rfc3339(at.timestamp() * 1000)
