"""How many leases a worker may hold: as many as run at once, plus what it will begin within a moment.

A worker whose runs take milliseconds would wait for the network after each if it held only what it runs. One whose runs
take minutes must not sit on work that another could begin. So the reserve follows from how long runs take.
"""

from __future__ import annotations

BEGINS_WITHIN_MS = 100
# Weight of the newest run in the average duration.
_NEWEST = 0.05
# Below this a run's own duration says nothing: the worker is bound by its reports.
_DURATION_MS_MIN = 0.05


class Prefetch:
    """Not synchronised: the worker's lock guards it."""

    def __init__(self, concurrency: int, reserve_max: int) -> None:
        self._concurrency = concurrency
        self._reserve_max = reserve_max
        self._duration_ms: float | None = None

    def ran(self, ms: float) -> None:
        self._duration_ms = ms if self._duration_ms is None else self._duration_ms + _NEWEST * (ms - self._duration_ms)

    def limit(self) -> int:
        """Leases held at once, at most; without a duration to go by, no reserve."""
        if self._duration_ms is None:
            return self._concurrency
        reserve = int(self._concurrency * BEGINS_WITHIN_MS / max(self._duration_ms, _DURATION_MS_MIN))
        return self._concurrency + min(self._reserve_max, reserve)

    def least_request(self, held: int) -> int:
        """The smallest request worth sending while `held` leases are held: any when there is nothing to do, else a fair
        part of the limit, so that a busy worker does not ask for runs one by one."""
        return 1 if held < self._concurrency else max(1, self.limit() // 4)
