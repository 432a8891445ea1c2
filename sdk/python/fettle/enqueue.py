"""Runs on their way to the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .batcher import Answer, Batcher, Limits
from .call import Caller, item_error
from .clock import rfc3339_of
from .errors import InvalidValueError
from .jsontext import Json, json_bytes, without_none
from .trace import carried_now

# Requests of enqueue_many() are smaller than they could be, so that two sides can work on them at once.
_RUNS_PER_REQUEST_MAX = 500
_REQUEST_BYTES_MAX = 2 * 1024 * 1024


@dataclass(frozen=True)
class RunRetry:
    base_ms: int | None = None
    factor: float | None = None
    cap_ms: int | None = None
    elapsed_max_ms: int | None = None


@dataclass(frozen=True)
class Trigger:
    source: str
    event_key: str | None = None


@dataclass(frozen=True)
class NewRun:
    workflow: str
    payload: Json = None
    client_id: str | None = None
    platform: str | None = None
    lane: str | None = None
    agent: str | None = None
    model: str | None = None
    pool: str | None = None
    #: 0 is first, 9 is last, 5 without.
    priority: int | None = None
    run_at: datetime | None = None
    max_retries: int | None = None
    retry: RunRetry | None = None
    timeout_ms: int | None = None
    concurrency_key: str | None = None
    #: The same key and payload give the first run's id with `created` False; another payload is refused (422).
    idempotency_key: str | None = None
    #: Of the caller's context without.
    correlation_id: str | None = None
    job_id: str | None = None
    request_id: str | None = None
    trigger: Trigger | None = None


@dataclass(frozen=True)
class EnqueuedRun:
    run_id: str
    state: str
    #: False when the idempotency key had already made this run.
    created: bool


def run_members(run: NewRun) -> dict[str, Any]:
    """The caller's run as the wire knows it, with the caller's trace context."""
    if not run.workflow:
        raise InvalidValueError("a run needs a workflow")
    carried = carried_now()
    members = dict(vars(run))
    members["run_at"] = rfc3339_of(run.run_at)
    members["retry"] = run.retry and without_none(vars(run.retry))
    members["trigger"] = run.trigger and without_none(vars(run.trigger))
    members["traceparent"] = carried.traceparent
    members["tracestate"] = carried.tracestate
    members["baggage"] = carried.baggage
    members["correlation_id"] = run.correlation_id or carried.correlation_id
    return without_none(members)


def enqueued_of(answer: Answer) -> EnqueuedRun:
    return EnqueuedRun(str(answer["run_id"]), str(answer["state"]), bool(answer["created"]))


class Enqueuer:
    def __init__(self, caller: Caller, queue_items_max: int) -> None:
        self._caller = caller
        # Two requests under way: the server stores one while the next is being written.
        limits = Limits(
            items_max=_RUNS_PER_REQUEST_MAX,
            bytes_max=_REQUEST_BYTES_MAX,
            queue_items_max=queue_items_max,
            in_flight_max=2,
        )
        self._batcher = Batcher("enqueue", self._send, item_error, limits)

    def submit(self, run: NewRun) -> Future[EnqueuedRun]:
        return mapped(self._batcher.add(json_bytes(run_members(run), f"run of {run.workflow}")), enqueued_of)

    def enqueue_many(self, runs: Iterable[NewRun]) -> list[EnqueuedRun | Exception]:
        """The runs travel in several requests, which may fail apart; they may begin in another order."""
        results: list[EnqueuedRun | Exception] = []
        under_way: list[tuple[int, Future[Answer]]] = []

        def settle(until: int) -> None:
            while len(under_way) > until:
                place, future = under_way.pop(0)
                error = future.exception()
                results[place] = error if isinstance(error, Exception) else enqueued_of(future.result())

        for at, run in enumerate(runs):
            try:
                item = json_bytes(run_members(run), f"run of {run.workflow}")
                under_way.append((at, self._batcher.add(item)))
                results.append(_PENDING)
            except Exception as error:
                results.append(error)
            if len(under_way) >= 4 * _RUNS_PER_REQUEST_MAX:
                settle(2 * _RUNS_PER_REQUEST_MAX)
        settle(0)
        return results

    def drained(self) -> None:
        self._batcher.drained()

    def close(self) -> None:
        self._batcher.close()

    def _send(self, items: Sequence[bytes]) -> Sequence[Answer]:
        answer = self._caller.post("/api/v1/runs", b'{"runs":[' + b",".join(items) + b"]}")
        results: Sequence[Answer] = answer["results"]
        return results


_PENDING = InvalidValueError("not answered")


def mapped(future: Future[Answer], make: Callable[[Answer], Any]) -> Future[Any]:
    """A future of what `make` makes of the answer."""
    made: Future[Any] = Future()

    def settle(done: Future[Answer]) -> None:
        error = done.exception()
        if error is not None:
            made.set_exception(error)
            return
        try:
            made.set_result(make(done.result()))
        except Exception as failure:  # an answer without the members that it should have
            made.set_exception(failure)

    future.add_done_callback(settle)
    return made
