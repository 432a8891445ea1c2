"""Full-jitter retry, bounded by tries and by elapsed time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .clock import Clock
from .errors import is_retryable, retry_after_of

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    retries_max: int  # after the first try
    base_ms: float = 100
    factor: float = 2
    cap_ms: float = 5_000
    #: From the first try to the start of the last one.
    elapsed_max_ms: float = 30_000


#: For calls to the Fettle server, which is back within seconds of a restart.
CALL_RETRY = RetryPolicy(retries_max=20)
NO_RETRY = RetryPolicy(retries_max=0)


def full_jitter_ms(policy: RetryPolicy, retry: int, random: float) -> float:
    """Uniform in [0, min(cap, base * factor^retry)), retry counted from 0."""
    # The exponent is bounded, since Python's power overflows where a product would only become infinite.
    return random * min(policy.cap_ms, policy.base_ms * policy.factor ** min(retry, 64))


def wait_before_retry_ms(
    clock: Clock, policy: RetryPolicy, retry: int, began_ms: float, error: BaseException
) -> float | None:
    """How long to wait before the next try; None when the policy is used up."""
    if retry >= policy.retries_max:
        return None
    asked = retry_after_of(error, clock.wall_ms()) or 0
    wait = max(asked, full_jitter_ms(policy, retry, clock.random()))
    return None if clock.now_ms() - began_ms + wait > policy.elapsed_max_ms else wait


def retrying(
    clock: Clock,
    policy: RetryPolicy,
    body: Callable[[], T],
    *,
    stop: threading.Event | None = None,
    may: Callable[[Exception], bool] = is_retryable,
) -> T:
    """Runs `body` until it succeeds, fails for good, or the policy is used up; the last error is raised as it came."""
    began_ms = clock.now_ms()
    stop = stop or threading.Event()
    retry = 0
    while True:
        try:
            return body()
        except Exception as error:
            wait = wait_before_retry_ms(clock, policy, retry, began_ms, error) if may(error) else None
            if wait is None or stop.is_set() or clock.wait(stop, wait):
                raise
        retry += 1
