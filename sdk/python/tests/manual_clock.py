"""A clock whose waits are over at once, and move it on."""

from __future__ import annotations

import threading


class ManualClock:
    def __init__(self, random: float = 1.0) -> None:
        self.ms = 0.0
        self.wall_began_ms = 1_700_000_000_000.0
        self.fixed_random = random
        self.waits: list[float] = []

    def now_ms(self) -> float:
        return self.ms

    def wall_ms(self) -> float:
        return self.wall_began_ms + self.ms

    def random(self) -> float:
        return self.fixed_random

    def wait(self, event: threading.Event, ms: float) -> bool:
        self.waits.append(ms)
        self.ms += ms
        return event.is_set()
