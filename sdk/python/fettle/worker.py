"""Leases runs, runs their handlers, and tells the server how they went.

start() ─► register ─► lease (long-poll) ─► buffer ─► handler ─► report
                          ▲                   │          │
                          └── room again ◄────┴──────────┘          heartbeats for all that is held, meanwhile

A run of this worker is in `_buffer` (leased, not begun) or running; `_held` is both, and all of it is heartbeated. A
lease that could not be renewed in time is given up here before the server can give it to another worker.

One thread leases, one sends heartbeats, one sends reports, and `concurrency` run handlers.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Literal
from urllib.parse import quote

from .batcher import Answer
from .errors import (
    FatalError,
    FettleError,
    InvalidValueError,
    LeaseLostError,
    ProblemError,
    ShutdownError,
    StoppedError,
    error_object,
)
from .jsontext import Json, json_bytes, without_none
from .prefetch import Prefetch
from .reporter import Reporter
from .retry import NO_RETRY, RetryPolicy, full_jitter_ms
from .run import LATE, Run, Services, Suspended
from .trace import Carried, carrying, spanned
from .transport import Interrupt

Handler = Callable[[Run], Json]

CONCURRENCY = 10
PREFETCH_MAX = 1000
WAIT_MS = 20_000
GRACE_MS = 30_000
_LEASES_PER_REQUEST_MAX = 500
# How long after the promised time the server may take to answer a long-poll.
_WAIT_GRACE_MS = 10_000
# While more reports than this wait, no new work is taken: the server does not keep up.
_REPORTS_PENDING_MAX = 5_000
# The lease ends here a little before it ends at the server.
_LEASE_MARGIN_MS = 500
_LEASE_BACKOFF = RetryPolicy(retries_max=0)
_DRAIN_RETRY = RetryPolicy(retries_max=2, elapsed_max_ms=3_000)
# After it is told to stop, a handler has so long to come to an end before its run is given back without it.
_ABORT_GRACE_MS = 2_000

_logger = logging.getLogger("fettle")


def _log_error(error: BaseException) -> None:
    _logger.warning("%s", error)


class Worker:
    """Fettle.worker() makes it. As a context manager it works within the block, and stops at its end."""

    def __init__(
        self,
        services: Services,
        workflows: Mapping[str, Handler],
        *,
        pool: str | None,
        concurrency: int,
        prefetch_max: int,
        runner_id: str | None,
        name: str | None,
        version: str | None,
        logger: logging.Logger | None,
        on_error: Callable[[BaseException], None] | None,
        wait_ms: int,
    ) -> None:
        self.runner_id = runner_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._services = services
        self._caller = services.caller
        self._clock = services.caller.clock
        self._workflows = dict(workflows)
        self._pool, self._name, self._version = pool, name, version
        self._logger = logger
        self._on_error = on_error or _log_error
        self._wait_ms = wait_ms
        self._concurrency = max(1, concurrency)
        self._reporter = Reporter(self._caller, self.runner_id)
        self._interrupt = Interrupt()
        self._ending = threading.Event()  # from here no lease is asked for
        self._ended = threading.Event()  # from here no heartbeat is sent
        self._lease_ms = 10_000.0
        self._heartbeat_ms = 3_000.0
        self._threads: list[threading.Thread] = []
        self._failures = 0

        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # the buffer has gained a run, or the end has come
        self._room_made = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        # All below are guarded by _lock.
        self._prefetch = Prefetch(self._concurrency, prefetch_max)
        self._held: dict[str, Run] = {}
        self._buffer: deque[Run] = deque()
        self._running = 0
        self._leasing = False
        self._state: Literal["new", "running", "draining", "stopped"] = "new"

    @property
    def state(self) -> str:
        return self._state

    @property
    def running(self) -> int:
        """Handlers that run now."""
        return self._running

    def workflow(self, name: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of a workflow; before start()."""

        def add(handler: Handler) -> Handler:
            self._workflows[name] = handler
            return handler

        return add

    def start(self) -> None:
        """Registers and begins to take work. Fails when the server refuses (a token without the right, say)."""
        if self._state != "new":
            raise FatalError(f"the worker is {self._state}", code="worker_state")
        self._register()
        self._state = "running"
        loops = [("lease", self._lease_loop), ("heartbeat", self._heartbeat_loop)]
        loops += [(f"run-{at}", self._handler_loop) for at in range(self._concurrency)]
        for name, loop in loops:
            # Daemons, so that a handler that never ends cannot keep the process.
            thread = threading.Thread(target=loop, name=f"fettle-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, *, grace_ms: float = GRACE_MS) -> None:
        """Takes no more work, gives back what it has not begun, and lets what runs finish for `grace_ms`; then tells it
        to stop with ShutdownError and gives it back: completed steps stay, so another worker resumes there. Returns
        when all is reported."""
        with self._lock:
            if self._state != "running":
                self._state = "stopped" if self._state == "new" else self._state
                first = False
            else:
                self._state, first = "draining", True
            not_begun = list(self._buffer)
            self._buffer.clear()
            self._ending.set()
            self._work.notify_all()
            self._room_made.notify_all()
        if not first:
            if self._state != "stopped":
                self._ended.wait()
            return
        self._give_back(not_begun)
        # From here the server leases nothing to us and ends the long-poll that waits.
        path = f"/api/v1/workers/{quote(self.runner_id, safe='')}/drain"
        try:
            self._caller.post(path, b"{}", retry=_DRAIN_RETRY)
        except FettleError as error:
            self._on_error(error)
        if not self._wait_until(lambda: not self._leasing, _ABORT_GRACE_MS):
            self._interrupt.fire()
        if not self._wait_until(lambda: self._running == 0, grace_ms):
            for run in self._all_held():
                run._stop(ShutdownError())
            if not self._wait_until(lambda: self._running == 0, _ABORT_GRACE_MS):
                self._give_back(self._all_held())
        self._reporter.drained()
        # Whoever ends well is not to be counted as lost. Nothing hangs on it: the server forgets us in time.
        with contextlib.suppress(FettleError):
            self._caller.delete(f"/api/v1/workers/{quote(self.runner_id, safe='')}", retry=_DRAIN_RETRY)
        self._state = "stopped"
        self._ended.set()
        self._reporter.close()

    def run(self, *, grace_ms: float = GRACE_MS) -> None:
        """Works until SIGTERM or SIGINT, then stops gracefully. For the main thread of a program that does nothing
        else."""
        asked = threading.Event()

        def ask(_signal: int, _frame: FrameType | None) -> None:
            asked.set()

        before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            asked.wait()
            self.stop(grace_ms=grace_ms)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def settled(self) -> None:
        """Returns when everything that handlers have reported until now has been answered."""
        self._reporter.drained()

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- leasing

    def _lease_loop(self) -> None:
        while True:
            with self._lock:
                self._leasing = False
                self._idle.notify_all()
                self._room_made.wait_for(lambda: self._ending.is_set() or self._room() >= self._least_request())
                if self._ending.is_set():
                    return
                self._leasing = True
                count = min(self._room(), _LEASES_PER_REQUEST_MAX)
            try:
                self._lease(count)
                self._failures = 0
            except Exception as error:
                if not self._ending.is_set():
                    self._on_error(error)
                    self._after_lease_failure(error)

    def _room(self) -> int:
        if self._reporter.pending > _REPORTS_PENDING_MAX:
            return 0
        return self._prefetch.limit() - self._running - len(self._buffer)

    def _least_request(self) -> int:
        return self._prefetch.least_request(self._running + len(self._buffer))

    def _lease(self, count: int) -> None:
        body = {
            "runner_id": self.runner_id,
            "pool": self._pool,
            "workflows": list(self._workflows),
            "max": count,
            "wait_ms": self._wait_ms,
            "payloads": True,
        }
        answer = self._caller.post(
            "/api/v1/work/lease",
            json_bytes(without_none(body), "lease"),
            timeout_ms=self._wait_ms + _WAIT_GRACE_MS,
            retry=NO_RETRY,
            interrupt=self._interrupt,
            long_poll=True,
        )
        # A long-poll says nothing of when, while it waited, the lease began; the answer's way here is within the
        # margin, and the first heartbeat sets an exact bound.
        deadline_ms = self._clock.now_ms() + self._lease_ms - _LEASE_MARGIN_MS
        runs = [self._run_of(lease, deadline_ms) for lease in answer["leases"]]
        with self._lock:
            for run in runs:
                older = self._held.get(run.run_id)
                if older is not None:
                    older._stop(LeaseLostError())  # leased to us anew: the older fence is gone
                self._held[run.run_id] = run
            working = self._state == "running"
            if working:
                self._buffer.extend(runs)
                self._work.notify(len(runs))
        if not working:
            self._give_back(runs)

    def _run_of(self, lease: Mapping[str, Any], deadline_ms: float) -> Run:
        return Run(lease, deadline_ms, self._services, self._reporter, self._logger, self._on_error)

    def _after_lease_failure(self, error: Exception) -> None:
        asked = error.retry_after_ms or 0 if isinstance(error, ProblemError) else 0
        wait = max(asked, full_jitter_ms(_LEASE_BACKOFF, self._failures, self._clock.random()))
        self._failures += 1
        if self._clock.wait(self._ending, wait):
            return
        # A server that was restarted without its memory of us, or that has called us lost.
        if isinstance(error, ProblemError) and error.status in (404, 409):
            try:
                self._register()
            except FettleError as again:
                self._on_error(again)

    # ---- running

    def _handler_loop(self) -> None:
        while True:
            with self._lock:
                self._work.wait_for(lambda: self._buffer or self._ending.is_set())
                if not self._buffer:
                    return
                run = self._buffer.popleft()
                self._running += 1
            begin_ms = self._clock.now_ms()
            try:
                if run.stop_reason is not None:
                    self._conclude(run, run.stop_reason)
                else:
                    self._execute(run)
            finally:
                with self._lock:
                    self._running -= 1
                    self._prefetch.ran(self._clock.now_ms() - begin_ms)
                    self._room_made.notify()
                    self._idle.notify_all()

    def _execute(self, run: Run) -> None:
        try:
            result = self._handle(run)
            self._finish(run, "complete", {"result": result, **run._spent()})
        except Suspended:
            op, members = run._suspension or ("sleep", {})
            self._finish(run, op, {**members, **run._spent()})
        except BaseException as error:  # SystemExit of a handler ends its run, not the worker
            self._conclude(run, error)

    def _handle(self, run: Run) -> Json:
        handler = self._workflows.get(run.workflow)
        if handler is None:
            raise FatalError(f"this worker has no workflow {run.workflow}", code="unknown_workflow")
        lease = run._lease
        carried = Carried(lease.get("traceparent"), lease.get("tracestate"), lease.get("baggage"), run.correlation_id)
        attributes: dict[str, str | int | None] = {
            "run_id": run.run_id,
            "workflow": run.workflow,
            "client_id": run.client_id,
            "platform": run.platform,
            "lane": run.lane,
            "job_id": run.job_id,
            "request_id": lease.get("request_id"),
            "correlation_id": run.correlation_id,
            "runner_id": self.runner_id,
            "attempt": run.attempt,
        }
        with carrying(carried), spanned(f"run {run.workflow}", "consumer", attributes):
            return handler(run)

    def _conclude(self, run: Run, error: BaseException) -> None:
        """The handler has failed."""
        reason = run.stop_reason
        if isinstance(reason, (ShutdownError, StoppedError)):
            self._finish(run, "release", {"reason": reason.code, **run._spent()})
        else:
            cause: BaseException = reason or error
            self._finish(run, "fail", {"error": error_object(cause, self._clock.wall_ms()), **run._spent()})

    def _finish(self, run: Run, op: str, members: dict[str, Json]) -> None:
        """The last report of this attempt; from here on the run is no longer ours. Whatever became of the lease
        meanwhile, the report is sent: the server knows by the fence whether it applies, and keeps what comes late."""
        with self._lock:
            if run._finished:
                return  # given back while its handler did not heed the stop
            run._finished = True
            if self._held.get(run.run_id) is run:
                del self._held[run.run_id]
        if op == "asked":
            return  # the lease has ended with the question
        try:
            try:
                reported = run._report(op, members)
            except InvalidValueError as error:
                # The handler's result is no JSON: no lost acknowledgement, but a failure of the run.
                failure = error_object(error, self._clock.wall_ms())
                reported = run._report("fail", {"error": failure, **run._spent()})
        except FettleError as error:
            self._on_error(error)  # it cannot be told: the lease ends by itself, and the run is tried again
            return
        reported.add_done_callback(self._finished)

    def _finished(self, reported: Future[Answer]) -> None:
        error = reported.exception()
        if error is not None and not isinstance(error, LATE):
            self._on_error(error)
        with self._lock:
            self._room_made.notify()

    # ---- heartbeats

    def _heartbeat_loop(self) -> None:
        next_beat_ms = self._clock.now_ms() + self._heartbeat_ms
        next_expiry_ms = next_beat_ms
        while True:
            wait_ms = min(next_beat_ms, next_expiry_ms) - self._clock.now_ms()
            if self._clock.wait(self._ended, wait_ms):
                return
            if self._clock.now_ms() >= next_beat_ms:
                self._beat()
                next_beat_ms = self._clock.now_ms() + self._heartbeat_ms
            next_expiry_ms = min([next_beat_ms, *self._expire()])

    def _beat(self) -> None:
        # Counted from before it is sent.
        deadline_ms = self._clock.now_ms() + self._lease_ms - _LEASE_MARGIN_MS
        for run in self._all_held():
            if run._beating or run._late or run._asking:
                continue  # one is on its way, or in vain
            run._beating = True
            progress, run._progressed = run._progressed, None
            try:
                reported = run._report("heartbeat", {"progress": progress} if progress else {})
            except FettleError as error:  # the queue is full, or the progress no JSON
                run._beating = False
                self._on_error(error)
                continue
            reported.add_done_callback(partial(_beaten, run, progress, deadline_ms))

    def _expire(self) -> Iterable[float]:
        """Stops the runs whose lease has ended for want of heartbeats; when the others' would."""
        now_ms = self._clock.now_ms()
        deadlines = []
        for run in self._all_held():
            if run.stop_reason is not None:
                continue
            if now_ms >= run._deadline_ms:
                run._stop(LeaseLostError("no heartbeat reached the server in time: the lease counts as lost"))
            else:
                deadlines.append(run._deadline_ms)
        return deadlines

    # ---- the beginning and the end

    def _register(self) -> None:
        body = {
            "runner_id": self.runner_id,
            "pool": self._pool,
            "capacity": self._concurrency,
            "workflows": list(self._workflows),
            "name": self._name,
            "version": self._version,
        }
        terms = self._caller.post("/api/v1/workers", json_bytes(without_none(body), "worker"))
        self._lease_ms = float(terms.get("lease_ms", self._lease_ms))
        self._heartbeat_ms = float(terms.get("heartbeat_ms", self._heartbeat_ms))

    def _give_back(self, runs: Iterable[Run]) -> None:
        """Ready again at once for another worker, without counting as a retry."""
        for run in runs:
            self._finish(run, "release", {"reason": "shutdown"})

    def _all_held(self) -> list[Run]:
        with self._lock:
            return list(self._held.values())

    def _wait_until(self, reached: Callable[[], bool], ms: float) -> bool:
        with self._lock:
            return self._idle.wait_for(reached, ms / 1000)


def _beaten(run: Run, progress: dict[str, Json] | None, deadline_ms: float, done: Future[Answer]) -> None:
    if done.exception() is None:
        run._deadline_ms = deadline_ms
    else:
        run._progressed = run._progressed or progress
    run._heed(done)
    run._beating = False
