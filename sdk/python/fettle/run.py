"""A leased run as its handler sees it: payload, memo of steps, the reason to stop, and everything it can say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from . import may_i
from .approval import ApprovalDecision, Role, decision_of
from .batcher import Answer
from .call import Caller
from .clock import rfc3339
from .errors import (
    CancelledError,
    LeaseLostError,
    ProblemError,
    StopError,
    StoppedError,
    error_object,
    is_retryable,
    late_reason,
)
from .jsontext import Json, json_bytes, without_none
from .observed import StepScope
from .records import AgentLog, AuditEvent, Recorder, WorkflowFailure
from .reporter import Reporter
from .retry import NO_RETRY, RetryPolicy, wait_before_retry_ms
from .side_effect import EffectOwner, Perform, SideEffect, SideEffectResult, SideEffects, Verify
from .step_log import StepLog
from .trace import spanned

T = TypeVar("T")

#: Reasons that the server gives, as opposed to a shutdown of our own.
LATE = (LeaseLostError, StoppedError, CancelledError)


class Suspended(BaseException):
    """Leaves the handler when the run goes to sleep; only the worker catches it. No Exception, so that a handler's own
    `except Exception` lets it pass."""


@dataclass(frozen=True)
class Services:
    caller: Caller
    side_effects: SideEffects
    may_i: may_i.MayI
    recorder: Recorder


class Run:
    """Valid until the handler has returned, from any thread. A handler may run several times: after a failure, after
    sleep(), wait_for() and approval(), and after its worker died. What it does outside of step() it does each time."""

    def __init__(
        self,
        lease: Mapping[str, Any],
        deadline_ms: float,
        services: Services,
        reporter: Reporter,
        logger: logging.Logger | None,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.run_id = str(lease["run_id"])
        self.workflow = str(lease["workflow"])
        #: As it was enqueued.
        self.payload: Any = lease.get("payload")
        #: From 1.
        self.attempt = int(lease["attempt"])
        self.retry_count = int(lease["retry_count"])
        self.client_id: str | None = lease.get("client_id")
        self.platform: str | None = lease.get("platform")
        self.lane: str | None = lease.get("lane")
        self.agent: str | None = lease.get("agent")
        self.job_id: str | None = lease.get("job_id")
        self.correlation_id: str | None = lease.get("correlation_id")
        self.request_id: str = lease.get("request_id") or self.correlation_id or self.run_id
        #: Set when the run must stop; `stop_reason` says why. Nothing that the handler does after it is applied.
        self.stopping = threading.Event()
        self.stop_reason: StopError | None = None

        # The worker's side. When the lease ends if no heartbeat gets through, on the worker's clock.
        self._deadline_ms = deadline_ms
        self._lease = lease
        self._beating = False  # a heartbeat is on its way
        self._late = False  # the server has said that the lease is gone
        self._asking = False  # a question that ends the lease is on its way, or was taken
        self._finished = False  # the last report has been made
        self._progressed: dict[str, Json] | None = None  # since the last heartbeat
        self._used = StepScope("", 0)  # outside of steps; theirs travels with them
        # How to report once the handler has been left; "asked" has been reported by asking.
        self._suspension: tuple[str, dict[str, Json]] | None = None

        self._services = services
        self._reporter = reporter
        self._log = None if logger is None else StepLog(logger, self.request_id, self.run_id)
        self._on_error = on_error
        self._fence = lease["fence"]
        done = [step for step in lease.get("steps") or () if step["status"] in ("completed", "succeeded")]
        self._memo = {step["name"]: step.get("result") for step in done}
        self._seen: dict[str, int] = {}
        self._step_count = 0

    def check(self) -> None:
        """Raises the reason to stop, when there is one. Long work calls it now and then."""
        if self.stop_reason is not None:
            raise self.stop_reason

    def step(self, name: str, body: Callable[[StepScope], T], *, retry: RetryPolicy = NO_RETRY) -> T:
        """Runs `body` once in the life of the run: after that, its result is remembered, and a retry gets it without
        running it again. Results must be JSON. Names tell steps apart and must come in the same order each time.

        `retry` are retries within this attempt of errors that may pass, beside those of the server's policy for this
        step. With neither, the run is retried as a whole and resumes here.
        """
        self.check()
        step, unique = self._next_step(name)
        if unique in self._memo:
            remembered: T = self._memo[unique]
            return remembered
        clock = self._services.caller.clock
        began_ms = clock.now_ms()
        tries = 0
        while True:
            self.check()
            scope = StepScope(unique, step)
            begin_ms = clock.now_ms()
            self._tell("step_start", {"step": step, "name": unique})
            try:
                with spanned(f"step {unique}", "internal", self._span_attributes(step)):
                    result = body(scope)
            except Exception as error:
                wait_ms = None
                if self.stop_reason is None and is_retryable(error):
                    wait_ms = wait_before_retry_ms(clock, retry, tries, began_ms, error)
                again_ms = self._step_failed(scope, clock.now_ms() - begin_ms, tries, error, wait_ms)
                if again_ms is None or self.stop_reason is not None:
                    raise
                clock.wait(self.stopping, again_ms)
                tries += 1
                continue
            self._step_completed(scope, clock.now_ms() - begin_ms, result)
            return result

    def sleep(self, until: datetime | timedelta, *, name: str = "sleep") -> None:
        """Leaves the handler until the time has come, and the worker is free meanwhile; then the handler runs again
        from the start, and this returns at once. `name` tells several sleeps of a run apart."""
        self.check()
        step, unique = self._next_step(f"sleep:{name}")
        if unique in self._memo:
            return
        self._suspension = ("sleep", {"step": step, "name": unique, "until": self._time(until)})
        raise Suspended

    def wait_for(
        self, event: str, *, key: str | None = None, timeout: timedelta | None = None, name: str | None = None
    ) -> Json:
        """Leaves the handler until somebody posts the event: its payload, or TimeoutError when it never came."""
        self.check()
        step, unique = self._next_step(name or f"wait:{event}")
        if unique in self._memo:
            result = self._memo[unique]
            if result.get("expired"):
                raise TimeoutError(f"{event} did not come in time")
            payload: Json = result.get("payload")
            return payload
        expires_at = None if timeout is None else self._time(timeout)
        members = {"step": step, "name": unique, "event": event, "key": key, "expires_at": expires_at}
        self._suspension = ("wait", without_none(members))
        raise Suspended

    def approval(
        self,
        name: str,
        *,
        title: str,
        role: Role | None = None,
        details: Mapping[str, Json] | None = None,
        note: str | None = None,
        expires_at: datetime | None = None,
        timeout: timedelta | None = None,
    ) -> ApprovalDecision:
        """Asks a person, once, and leaves the handler until the decision or until the question has expired; every later
        attempt gets the same decision. Questions of the same name in one run are told apart by the order of the calls.

        `title` is one line for whoever decides, who is of `role` (operator without) or above; `details` are what is to
        be approved or where it can be seen, with `note` as their member of that name. The question expires at a time or
        so long after it was asked, at least a second ahead; never without.
        """
        self.check()
        _, unique = self._next_step(f"approval:{name}")
        if unique in self._memo:
            return decision_of(self._memo[unique])
        self._asking = True  # its answer ends the lease: no heartbeat may come behind it
        try:
            self._before_asking(unique)
            body = self._question(unique, title, role, details, note, expires_at or timeout)
            answer = self._services.caller.post("/api/v1/approvals", body)
            if answer["state"] == "done":
                self._asking = False
                return decision_of(answer["result"])
        except Exception as error:
            self._asking = False
            if isinstance(error, ProblemError) and error.status == 409:
                self._confirmed("heartbeat", {})  # the lease may be gone: only a report is told why
            raise
        self._suspension = ("asked", {})
        raise Suspended

    def log(self, level: str, message: str, payload: Json = None) -> None:
        """A line on the run's record."""
        self._tell("log", without_none({"level": level, "message": message, "payload": payload}))

    def progress(self, *, done: float | None = None, total: float | None = None, note: str | None = None) -> None:
        """That the work moves on. Travels with the next heartbeat; a run that says nothing for long counts as
        stalled."""
        self._progressed = without_none({"done": done, "total": total, "note": note})

    def usage(self, *, tokens: int = 0, cost_usd: float = 0) -> None:
        """What was used outside of a step."""
        self._used.usage(tokens=tokens, cost_usd=cost_usd)

    def side_effect(self, effect: SideEffect, perform: Perform, verify: Verify | None = None) -> SideEffectResult:
        """Performs something visible at most once: see side_effect.py for the states. `verify` looks whether it is
        visible."""
        self.check()
        filled = replace(
            effect,
            client_id=effect.client_id or self.client_id,
            platform=effect.platform or self.platform,
            agent=effect.agent or self.agent,
        )
        owner = EffectOwner(self.run_id, self._fence, self.stopping, lambda: self.stop_reason)
        try:
            return self._services.side_effects.run(filled, perform, verify, owner)
        except ProblemError as error:
            if error.code != "late":
                raise
            reason = late_reason(error.problem)  # reserved under a lease that is gone
            self._report_failed(reason)
            raise (self.stop_reason or reason) from error

    def may_i(
        self,
        question: may_i.Question = may_i.Question(),
        *,
        on_unreachable: may_i.Rule | None = None,
        timeout_ms: float = may_i.TIMEOUT_MS,
    ) -> may_i.Verdict:
        """The run's client, platform, lane, workflow and agent are filled in."""
        asked = replace(
            question,
            client_id=question.client_id or self.client_id,
            platform=question.platform or self.platform,
            lane=question.lane or self.lane,
            workflow=question.workflow or self.workflow,
            agent=question.agent or self.agent,
        )
        return self._services.may_i.ask(asked, on_unreachable, timeout_ms)

    # Records, as on the client, with the run's identifiers filled in.

    def log_agent_failure(self, log: AgentLog) -> Future[str]:
        return self._services.recorder.agent_log(replace(log, **self._ids(log), agent=log.agent or self.agent))

    def log_workflow_failure(self, failure: WorkflowFailure) -> Future[str]:
        attempt = self.retry_count if failure.retry_attempt is None else failure.retry_attempt
        workflow = failure.workflow or self.workflow
        filled = replace(failure, **self._ids(failure), workflow=workflow, retry_attempt=attempt)
        return self._services.recorder.workflow_failure(filled)

    def log_audit_event(self, event: AuditEvent) -> Future[str]:
        platform, lane = event.platform or self.platform, event.lane or self.lane
        filled = replace(event, **self._ids(event), platform=platform, lane=lane)
        return self._services.recorder.audit_event(filled)

    # ---- between the run and its worker

    def _stop(self, reason: StopError) -> None:
        """The first reason stays."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self.stopping.set()

    def _report(self, op: str, members: dict[str, Json]) -> Future[Answer]:
        return self._reporter.report(op, self.run_id, self._fence, members)

    def _tell(self, op: str, members: dict[str, Json]) -> None:
        """A report that nobody waits for. A lost lease stops the run; any other failure is told to the worker, since
        the heartbeats will find out whether the server is away."""
        self._report(op, members).add_done_callback(self._heed)

    def _heed(self, future: Future[Answer]) -> None:
        """What the answer to a report asks of the run."""
        error = future.exception()
        if error is not None:
            self._report_failed(error)
            return
        answer = future.result()
        if answer.get("stop"):
            self._stop(StoppedError(answer["stop"]))
        elif answer.get("cancel"):
            self._stop(CancelledError())

    def _report_failed(self, error: BaseException) -> None:
        if isinstance(error, LATE):
            self._late = True
            self._stop(error)
        else:
            self._on_error(error)

    def _spent(self) -> dict[str, Json]:
        used = self._used
        return {"tokens": used.tokens, "cost_usd": used.cost_usd} if used.tokens or used.cost_usd else {}

    def _question(
        self,
        step: str,
        title: str,
        role: Role | None,
        details: Mapping[str, Json] | None,
        note: str | None,
        until: datetime | timedelta | None,
    ) -> bytes:
        question = {
            "run_id": self.run_id,
            "fence": self._fence,
            "step": step,
            "title": title,
            "role": role,
            "details": details if note is None else {**(details or {}), "note": note},
            "expires_at": None if until is None else self._time(until),
        }
        return json_bytes(without_none(question), step)

    def _before_asking(self, question: str) -> None:
        """Whatever was reported before has arrived when this has. A question carries no usage, so what was used outside
        of steps until now is told as a step of its own."""
        used = self._spent()
        if used:
            self._confirmed("step_complete", {"name": f"before {question}", **used})
            self._used = StepScope("", 0)
        else:
            self._confirmed("heartbeat", {})

    def _confirmed(self, op: str, members: dict[str, Json]) -> None:
        """Reports, and raises the reason to stop when the lease is gone or the answer asks for it."""
        reported = self._report(op, members)
        error = reported.exception()
        if error is not None and not isinstance(error, LATE):
            raise error
        self._heed(reported)
        self.check()

    # ---- steps

    def _next_step(self, name: str) -> tuple[int, str]:
        """The same name again within a run is another step: "fetch", "fetch#2", in the order of the calls."""
        self._step_count += 1
        count = self._seen[name] = self._seen.get(name, 0) + 1
        return self._step_count, name if count == 1 else f"{name}#{count}"

    def _step_failed(
        self, scope: StepScope, duration_ms: float, tries: int, error: Exception, wait_ms: float | None
    ) -> float | None:
        """How long to wait before the step is tried again in place: the server's policy goes before the step's own."""
        if self._log is not None:
            self._log.failed(scope.step_id, scope.name, duration_ms, self.retry_count + tries, error)
        members = self._step_members(scope, duration_ms)
        members["error"] = error_object(error, self._services.caller.clock.wall_ms())
        members["will_retry"] = wait_ms is not None
        reported = self._report("step_fail", members)
        failed = reported.exception()
        self._heed(reported)
        if failed is None and reported.result().get("will_retry"):
            return float(reported.result().get("retry_after_ms") or 0)
        return wait_ms

    def _step_completed(self, scope: StepScope, duration_ms: float, result: Json) -> None:
        reported = self._report("step_complete", {**self._step_members(scope, duration_ms), "result": result})
        # The next step starts only when this one is on record: otherwise a crash would do it again.
        failed = reported.exception()
        if failed is not None and not isinstance(failed, LATE):
            raise failed
        self._heed(reported)
        if self._log is not None and failed is None:
            self._log.completed(scope.step_id, scope.name, duration_ms, scope.tokens, scope.cost_usd)
        self.check()

    def _step_members(self, scope: StepScope, duration_ms: float) -> dict[str, Json]:
        return {
            "step": scope.step_id,
            "name": scope.name,
            "duration_ms": round(duration_ms),
            "tokens": scope.tokens,
            "cost_usd": scope.cost_usd,
        }

    def _span_attributes(self, step: int) -> dict[str, str | int | None]:
        return {"run_id": self.run_id, "step_id": step, "client_id": self.client_id}

    def _time(self, until: datetime | timedelta) -> str:
        if isinstance(until, timedelta):
            return rfc3339(self._services.caller.clock.wall_ms() + until / timedelta(milliseconds=1))
        return rfc3339(until.timestamp() * 1000)

    def _ids(self, record: AgentLog | WorkflowFailure | AuditEvent) -> dict[str, Any]:
        return {
            "run_id": record.run_id or self.run_id,
            "client_id": record.client_id or self.client_id,
            "request_id": record.request_id or self.request_id,
            "correlation_id": record.correlation_id or self.correlation_id,
        }
