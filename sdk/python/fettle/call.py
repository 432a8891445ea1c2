"""A call of the API: JSON in and out, an idempotency key on what changes something, retry, problems as exceptions."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from .clock import Clock
from .errors import ProblemError, UnreachableError, parse_retry_after, retryable_status
from .retry import CALL_RETRY, RetryPolicy, retrying
from .transport import HttpAnswer, Interrupt, Transport

TIMEOUT_MS = 10_000
# Few: what is sent often is sent in batches, and a request more is a commit more for the server.
CONNECTIONS_MAX = 8
# Above the largest answer of the API, a full batch of leases with payloads.
ANSWER_BYTES_MAX = 256 * 1024 * 1024

# What could end the quotes of the header is not a key's business.
_NOT_OF_A_KEY = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")


class Caller:
    """May be used by many threads at once."""

    def __init__(
        self,
        url: str,
        token: str | None,
        clock: Clock,
        *,
        retry: RetryPolicy = CALL_RETRY,
        timeout_ms: float = TIMEOUT_MS,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self.clock = clock
        self._retry = retry
        self._timeout_ms = timeout_ms
        self._transport = Transport(
            url, token, clock, connections_max=connections_max, answer_bytes_max=ANSWER_BYTES_MAX
        )

    def get(self, path: str, *, timeout_ms: float | None = None, retry: RetryPolicy | None = None) -> Any:
        return self._call("GET", path, None, {}, timeout_ms, retry, None, None, False)

    def post(
        self,
        path: str,
        body: bytes,
        *,
        idempotency_key: str | None = None,
        timeout_ms: float | None = None,
        retry: RetryPolicy | None = None,
        stop: threading.Event | None = None,
        interrupt: Interrupt | None = None,
        long_poll: bool = False,
    ) -> Any:
        """`body` is JSON text, so that a caller who already has it does not write it twice.

        The same key makes the server answer a repetition as it answered the first time. It is made up when absent; the
        tries of one call share it either way.
        """
        key = _NOT_OF_A_KEY.sub("_", idempotency_key or str(uuid.uuid4()))
        headers = {"idempotency-key": f'"{key}"'}
        return self._call("POST", path, body, headers, timeout_ms, retry, stop, interrupt, long_poll)

    def delete(self, path: str, *, retry: RetryPolicy | None = None) -> Any:
        headers = {"idempotency-key": f'"{uuid.uuid4()}"'}
        return self._call("DELETE", path, None, headers, None, retry, None, None, False)

    def close(self) -> None:
        self._transport.close()

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout_ms: float | None,
        retry: RetryPolicy | None,
        stop: threading.Event | None,
        interrupt: Interrupt | None,
        long_poll: bool,
    ) -> Any:
        def once() -> Any:
            answer = self._transport.send(
                method,
                path,
                body,
                headers=headers,
                timeout_ms=timeout_ms or self._timeout_ms,
                interrupt=interrupt,
                long_poll=long_poll,
            )
            return self._value(answer, f"{method} {path}")

        return retrying(self.clock, retry or self._retry, once, stop=stop, may=_may_repeat)

    def _value(self, answer: HttpAnswer, what: str) -> Any:
        good = 200 <= answer.status < 300
        try:
            value = json.loads(answer.body) if answer.body else None
        except ValueError as error:
            if good:  # a proxy's page, or an answer cut short
                raise UnreachableError(f"{what}: the answer is not JSON") from error
            value = None
        if good:
            return value
        problem = value if isinstance(value, dict) else {"title": f"{what}: {answer.status}"}
        retry_after_ms = parse_retry_after(answer.headers.get("retry-after"), self.clock.wall_ms())
        raise ProblemError(answer.status, problem, answer.headers.get("x-request-id", ""), retry_after_ms)


def _may_repeat(error: Exception) -> bool:
    """Every call that changes something carries a key, so a repetition is safe even when the first try took effect."""
    if isinstance(error, UnreachableError):
        return True
    if not isinstance(error, ProblemError):
        return False
    # 409 with a time to wait says that the first try is still under way.
    return retryable_status(error.status) or (error.status == 409 and error.retry_after_ms is not None)


def item_error(answer: Mapping[str, Any]) -> ProblemError | None:
    """A result of a batch that says "no", as an exception."""
    if answer.get("ok"):
        return None
    problem = answer.get("error") or {"title": "refused"}
    return ProblemError(int(problem.get("status") or 400), problem)
