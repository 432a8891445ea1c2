"""Observed runs: the work runs where it always ran, and reports its start, its steps and its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

from .batcher import Answer, Batcher, Limits
from .call import Caller, item_error
from .clock import rfc3339
from .enqueue import NewRun, run_members
from .errors import error_object
from .jsontext import Json, json_bytes
from .side_effect import EffectOwner
from .trace import spanned


@dataclass
class StepScope:
    name: str
    #: Its place among the run's steps, from 1.
    step_id: int
    tokens: int = 0
    cost_usd: float = 0

    def usage(self, *, tokens: int = 0, cost_usd: float = 0) -> None:
        """Adds to what this step has used; a run's total is that of its steps and what it used beside them."""
        self.tokens += tokens
        self.cost_usd += cost_usd


class ObservedRun:
    """As a context manager, ends the run: as succeeded, or as failed with the exception that leaves the block."""

    def __init__(self, caller: Caller, run_id: str) -> None:
        self.run_id = run_id
        self._caller = caller
        self._used = StepScope("", 0)
        self._lock = threading.Lock()
        self._step_count = 0
        self._undelivered: BaseException | None = None
        self._ended = False
        limits = Limits(queue_bytes_max=16 * 1024 * 1024)  # one request at a time: a step's start comes before its end
        self._steps = Batcher(f"steps of {run_id}", self._send, item_error, limits)

    @property
    def owner(self) -> EffectOwner:
        """Ties a side effect to this run."""
        return EffectOwner(run_id=self.run_id)

    @contextmanager
    def step(self, name: str) -> Iterator[StepScope]:
        """Reported at its start and at its end, as failed when an exception leaves it. The report does not hold the
        work up; the run's end waits for it."""
        clock = self._caller.clock
        with self._lock:
            self._step_count += 1
            scope = StepScope(name, self._step_count)
        began_ms = clock.now_ms()
        self._report(scope, status="running", started_at=rfc3339(clock.wall_ms()))

        def ended(**outcome: Json) -> None:
            self._report(
                scope,
                duration_ms=round(clock.now_ms() - began_ms),
                finished_at=rfc3339(clock.wall_ms()),
                tokens=scope.tokens,
                cost_usd=scope.cost_usd,
                **outcome,
            )

        try:
            with spanned(f"step {name}", "internal", {"run_id": self.run_id, "step_id": scope.step_id}):
                yield scope
        except BaseException as error:
            ended(status="failed", error=error_object(error, clock.wall_ms()))
            raise
        ended(status="succeeded")

    def usage(self, *, tokens: int = 0, cost_usd: float = 0) -> None:
        """What was used outside of a step."""
        self._used.usage(tokens=tokens, cost_usd=cost_usd)

    def succeed(self, result: Json = None) -> None:
        self._end({"status": "succeeded", "result": result})

    def fail(self, error: BaseException) -> None:
        self._end({"status": "failed", "error": error_object(error, self._caller.clock.wall_ms())})

    def __enter__(self) -> ObservedRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ended:
            return
        if error is None:
            self.succeed()
        else:
            self.fail(error)

    def _end(self, outcome: dict[str, Any]) -> None:
        """Raises the first failure to deliver a step, if there was one, once the end itself is delivered."""
        self._ended = True
        self._steps.close()
        body = {**outcome, "tokens": self._used.tokens, "cost_usd": self._used.cost_usd}
        self._caller.post(self._path("end"), json_bytes(body, f"end of {self.run_id}"))
        if self._undelivered is not None:
            raise self._undelivered

    def _report(self, scope: StepScope, **members: Json) -> None:
        item = json_bytes({"step": scope.step_id, "name": scope.name, **members}, "step")
        self._steps.add(item).add_done_callback(self._delivered)

    def _delivered(self, future: Future[Answer]) -> None:
        self._undelivered = self._undelivered or future.exception()

    def _send(self, items: Sequence[bytes]) -> Sequence[Answer]:
        answer = self._caller.post(self._path("steps"), b'{"steps":[' + b",".join(items) + b"]}")
        results: Sequence[Answer] = answer["results"]
        return results

    def _path(self, verb: str) -> str:
        return f"/api/v1/runs/{quote(self.run_id, safe='')}/{verb}"


def start_run(caller: Caller, run: NewRun) -> ObservedRun:
    body = {**run_members(run), "observed": True, "status": "running"}
    return ObservedRun(caller, str(caller.post("/api/v1/runs", json_bytes(body, run.workflow))["run_id"]))
