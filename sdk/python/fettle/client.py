"""The way into Fettle for a Python program. One client per process is enough; any thread may call any method.

    with Fettle(url="http://127.0.0.1:7070", token=token) as fettle:
        fettle.enqueue(NewRun("lead", client_id="acme", payload={"email": email}))
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from . import may_i, worker
from .call import CONNECTIONS_MAX, TIMEOUT_MS, Caller
from .clock import Clock, SystemClock
from .enqueue import EnqueuedRun, Enqueuer, NewRun
from .jsontext import Json, json_bytes, without_none
from .observed import ObservedRun, start_run
from .records import AgentLog, AuditEvent, Collection, Recorder, WorkflowFailure
from .retry import CALL_RETRY, RetryPolicy
from .run import Services
from .side_effect import EffectOwner, Perform, SideEffect, SideEffectResult, SideEffects, Verify

URL_DEFAULT = "http://127.0.0.1:7070"


class Fettle:
    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        retry: RetryPolicy = CALL_RETRY,
        timeout_ms: float = TIMEOUT_MS,
        connections_max: int = CONNECTIONS_MAX,
        queue_items_max: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        """FETTLE_URL and FETTLE_TOKEN stand in for what is not given. The token names the workspace; a server started
        with --dev needs none. `retry` and `timeout_ms` are for every call except leasing. `queue_items_max` runs may
        wait to be sent; past that, QueueFullError. `clock` is for tests."""
        self._caller = Caller(
            url or os.environ.get("FETTLE_URL") or URL_DEFAULT,
            token or os.environ.get("FETTLE_TOKEN"),
            clock or SystemClock(),
            retry=retry,
            timeout_ms=timeout_ms,
            connections_max=connections_max,
        )
        self._enqueuer = Enqueuer(self._caller, queue_items_max)
        self._services = Services(
            self._caller, SideEffects(self._caller), may_i.MayI(self._caller), Recorder(self._caller)
        )

    def enqueue(self, run: NewRun) -> EnqueuedRun:
        """Returns when the run is durable. Calls of several threads travel in one request."""
        return self._enqueuer.submit(run).result()

    def submit(self, run: NewRun) -> Future[EnqueuedRun]:
        """The same without waiting: what one thread submits in a row travels together, too."""
        return self._enqueuer.submit(run)

    def enqueue_many(self, runs: Iterable[NewRun]) -> list[EnqueuedRun | Exception]:
        """One result per run, in their order; does not fail for the sake of one of them."""
        return self._enqueuer.enqueue_many(runs)

    def post_event(
        self, name: str, *, key: str | None = None, payload: Json = None, idempotency_key: str | None = None
    ) -> None:
        """Wakes the runs that wait for it."""
        members = without_none({"name": name, "key": key, "payload": payload})
        self._caller.post("/api/v1/events", json_bytes(members, f"event {name}"), idempotency_key=idempotency_key)

    def start_run(self, run: NewRun) -> ObservedRun:
        """An observed run: the work runs here, Fettle is told."""
        return start_run(self._caller, run)

    def worker(
        self,
        workflows: Mapping[str, worker.Handler] | None = None,
        *,
        pool: str | None = None,
        concurrency: int = worker.CONCURRENCY,
        prefetch_max: int = worker.PREFETCH_MAX,
        runner_id: str | None = None,
        name: str | None = None,
        version: str | None = None,
        logger: logging.Logger | None = None,
        on_error: Callable[[BaseException], None] | None = None,
        wait_ms: int = worker.WAIT_MS,
    ) -> worker.Worker:
        """`concurrency` handlers run at once; leases beyond that are held only as far as the worker expects to begin
        them within a tenth of a second, and `prefetch_max` at most. `logger` gets the two lines of each step (see
        StepFormatter). `on_error` hears what goes wrong beside the runs themselves; the worker goes on."""
        return worker.Worker(
            self._services,
            workflows or {},
            pool=pool,
            concurrency=concurrency,
            prefetch_max=prefetch_max,
            runner_id=runner_id,
            name=name,
            version=version,
            logger=logger,
            on_error=on_error,
            wait_ms=wait_ms,
        )

    def side_effect(
        self,
        effect: SideEffect,
        perform: Perform,
        verify: Verify | None = None,
        *,
        owner: EffectOwner = EffectOwner(),
    ) -> SideEffectResult:
        """At most once, also outside of a run; `owner` ties it to one (ObservedRun.owner)."""
        return self._services.side_effects.run(effect, perform, verify, owner)

    def may_i(
        self,
        question: may_i.Question = may_i.Question(),
        *,
        on_unreachable: may_i.Rule | None = None,
        timeout_ms: float = may_i.TIMEOUT_MS,
    ) -> may_i.Verdict:
        """`on_unreachable` is the rule while the server is away and has never said what the class's rule is; it refuses
        without."""
        return self._services.may_i.ask(question, on_unreachable, timeout_ms)

    # The futures are the record's id, once it is durable. Nobody needs to wait for them; flush() waits for all.

    def log_agent_failure(self, log: AgentLog) -> Future[str]:
        return self._services.recorder.agent_log(log)

    def log_workflow_failure(self, failure: WorkflowFailure) -> Future[str]:
        return self._services.recorder.workflow_failure(failure)

    def log_audit_event(self, event: AuditEvent) -> Future[str]:
        return self._services.recorder.audit_event(event)

    #: The same under its short name.
    audit = log_audit_event

    def record(self, collection: Collection, record: Mapping[str, Json]) -> Future[str]:
        """Any record, under the server's own field names."""
        return self._services.recorder.record(collection, record)

    # Any other endpoint, with keys, retry and problems as everywhere else.

    def get(self, path: str) -> Any:
        return self._caller.get(path)

    def post(self, path: str, body: Json, *, idempotency_key: str | None = None) -> Any:
        return self._caller.post(path, json_bytes(body, path), idempotency_key=idempotency_key)

    def flush(self) -> None:
        """Returns when everything handed over so far has been answered."""
        self._enqueuer.drained()
        self._services.recorder.drained()

    def close(self) -> None:
        """Flushes and lets go of the connections. Stop the workers first."""
        self._enqueuer.close()
        self._services.recorder.close()
        self._caller.close()

    def __enter__(self) -> Fettle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
