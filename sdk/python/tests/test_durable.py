"""What outlives an attempt, on the server at FETTLE_URL: sleeps, events, decisions, stops, leases and side effects. The
one in memory has no clock, no switches and nobody who decides. The SDKs for other languages keep the same list."""

from __future__ import annotations

import os
import threading
import time
import unittest
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from fettle import (
    AgentLog,
    AuditEvent,
    EffectUnknownError,
    Fettle,
    NewRun,
    RetryableError,
    Run,
    RunRetry,
    Seen,
    SideEffect,
    Trigger,
    Worker,
    WorkflowFailure,
)

REAL = os.environ.get("FETTLE_URL")
WAIT_S = 20
# What is tried again is tried at once.
SOON = {"retry": RunRetry(base_ms=1, cap_ms=1)}


def asking(run: Run) -> dict[str, Any]:
    return asdict(run.approval("publish", title="Publish?", details={"post": 7}, note="before noon"))


def until_stopped(run: Run) -> None:
    """Goes on until the run must stop: each step brings news of it."""
    while True:
        run.step("still at it", lambda step: time.sleep(0.05))


@unittest.skipUnless(REAL, "needs a server")
class DurableTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.fettle = Fettle(REAL)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.fettle.close()

    def setUp(self) -> None:
        self.began = threading.Event()
        self.stopped = threading.Event()
        self.reasons: list[str] = []

    def working(self, pool: str, handler: Callable[[Run], Any]) -> Worker:
        worker = self.fettle.worker({"durable": handler}, pool=pool)
        worker.start()
        self.addCleanup(lambda: worker.stop(grace_ms=0))
        return worker

    def start(self, handler: Callable[[Run], Any], **run: Any) -> str:
        """One run in a pool of its own, with a worker there."""
        pool = str(uuid.uuid4())
        made = self.fettle.enqueue(NewRun("durable", pool=pool, **run))
        self.working(pool, handler)
        return made.run_id

    def until(self, what: str, probe: Callable[[], Any]) -> Any:
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if got := probe():
                return got
            time.sleep(0.02)
        self.fail(f"gave up waiting for {what}")

    def run_of(self, run_id: str) -> dict[str, Any]:
        return self.fettle.get(f"/api/v1/runs/{run_id}")

    def reaches(self, run_id: str, state: str) -> dict[str, Any]:
        def probe() -> dict[str, Any] | None:
            run = self.run_of(run_id)
            return run if run["state"] == state else None

        return self.until(f"{state} of {run_id}", probe)

    def ends(self, run_id: str) -> dict[str, Any]:
        return self.reaches(run_id, "succeeded")

    def approvals(self, run_id: str) -> list[dict[str, Any]]:
        items = self.fettle.get("/api/v1/approvals?all=true")["items"]
        return [one for one in items if one["run_id"] == run_id]

    def decide(self, run_id: str, **body: Any) -> None:
        self.reaches(run_id, "waiting")
        (asked,) = (one for one in self.approvals(run_id) if one["state"] == "open")
        self.fettle.post(f"/api/v1/approvals/{asked['id']}/decide", body)

    def stops(self, run: Run) -> None:
        """Goes on until the run must stop, and notes why."""
        self.began.set()
        try:
            until_stopped(run)
        finally:
            self.reasons.append(run.stop_reason.code if run.stop_reason else "none")
            self.stopped.set()

    def begins(self) -> None:
        self.assertTrue(self.began.wait(WAIT_S))

    def test_a_run_that_sleeps_goes_on_when_its_time_has_come(self) -> None:
        begins: list[float] = []

        def handler(run: Run) -> None:
            begins.append(time.monotonic())
            run.step("before", lambda step: len(begins))
            run.sleep(timedelta(milliseconds=200))

        run = self.ends(self.start(handler))
        self.assertEqual(len(begins), 2)
        self.assertGreaterEqual(begins[1] - begins[0], 0.2)
        self.assertEqual((run["attempt"], run["retry_count"], run["steps"][0]["result"]), (2, 0, 1))

    def test_a_run_that_waits_for_an_event_gets_its_payload(self) -> None:
        key = str(uuid.uuid4())
        run_id = self.start(lambda run: {"got": run.wait_for("paid", key=key)})
        self.assertEqual(self.reaches(run_id, "waiting")["waits_for"], "signal")
        self.fettle.post_event("paid", key=key, payload={"sum": 3})
        self.assertEqual(self.ends(run_id)["result"], {"got": {"sum": 3}})

    def test_an_event_that_never_comes_is_told_to_whoever_waits_for_it(self) -> None:
        def handler(run: Run) -> dict[str, bool]:
            try:
                run.wait_for("paid", key=str(uuid.uuid4()), timeout=timedelta(milliseconds=200))
            except TimeoutError:
                return {"came": False}
            return {"came": True}

        self.assertEqual(self.ends(self.start(handler))["result"], {"came": False})

    def test_an_approval_says_who_approved_with_which_note_and_changes(self) -> None:
        run_id = self.start(asking, client_id="acme")
        self.assertEqual(self.reaches(run_id, "waiting")["waits_for"], "approval")
        (asked,) = self.approvals(run_id)
        expected = ("Publish?", {"post": 7, "note": "before noon"}, "acme", "approval:publish")
        self.assertEqual(tuple(asked[name] for name in ("title", "details", "client_id", "step")), expected)
        self.decide(run_id, decision="approve", note="fine", edited={"post": 8})
        result = self.ends(run_id)["result"]
        self.assertTrue(result.pop("decided_by"))
        self.assertEqual(result, {"decision": "approved", "note": "fine", "edited": {"post": 8}})

    def test_a_rejection_is_a_decision(self) -> None:
        run_id = self.start(asking)
        self.decide(run_id, decision="reject", note="not today")
        result = self.ends(run_id)["result"]
        self.assertEqual((result["decision"], result["note"]), ("rejected", "not today"))

    def test_an_approval_that_nobody_decides_expires(self) -> None:
        run_id = self.start(lambda run: asdict(run.approval("publish", title="Publish?", timeout=timedelta(seconds=2))))
        expected = {"decision": "expired", "decided_by": None, "note": None, "edited": None}
        self.assertEqual(self.ends(run_id)["result"], expected)
        self.assertEqual(self.approvals(run_id)[0]["state"], "expired")

    def test_an_approval_is_asked_for_once_whatever_becomes_of_the_attempts(self) -> None:
        behind: list[int] = []

        def handler(run: Run) -> None:
            run.usage(tokens=5)
            asking(run)
            behind.append(run.attempt)
            if len(behind) < 3:
                raise RetryableError("behind the decision")

        run_id = self.start(handler, **SOON)
        self.decide(run_id, decision="approve")
        run = self.ends(run_id)
        self.assertEqual((behind, run["retry_count"], len(self.approvals(run_id))), ([2, 3, 4], 2, 1))
        self.assertEqual(run["tokens"], 20, "one attempt that asked, three behind it")

    def test_a_question_that_the_server_refuses_is_a_dead_letter(self) -> None:
        run_id = self.start(lambda run: asdict(run.approval("publish", title="")))
        self.assertEqual(self.reaches(run_id, "dead")["last_error"]["http_status"], 400)

    def test_a_cancelled_run_stops_its_handler(self) -> None:
        run_id = self.start(self.stops)
        self.begins()
        self.fettle.post(f"/api/v1/runs/{run_id}/cancel", {"reason": "no longer wanted"})
        run = self.reaches(run_id, "cancelled")
        self.assertTrue(self.stopped.wait(WAIT_S))
        self.assertEqual((self.reasons, run["attempt"]), (["cancelled"], 1))

    def test_a_kill_switch_stops_a_run_that_goes_on_uncounted_when_it_is_lifted(self) -> None:
        client_id = str(uuid.uuid4())

        def handler(run: Run) -> None:
            run.step("done before", lambda step: run.attempt)
            if run.attempt == 1:
                self.stops(run)

        run_id = self.start(handler, client_id=client_id)
        self.begins()
        thrown = self.fettle.post(
            "/api/v1/switches", {"mode": "kill", "client_id": client_id, "reason": "the wrong account"}
        )
        self.assertTrue(self.stopped.wait(WAIT_S))
        self.fettle.post(f"/api/v1/switches/{thrown['id']}/resume", {"reason": "it was the right one"})
        run = self.ends(run_id)
        self.assertEqual((self.reasons, run["retry_count"], run["steps"][0]["result"]), (["stopped"], 0, 1))

    def test_a_lease_that_was_given_away_stops_the_handler_that_held_it(self) -> None:
        run_id = self.start(lambda run: self.stops(run) if run.attempt == 1 else None)
        self.begins()
        # As after a pause of the worker: the lease goes, and nobody tells its holder.
        report = {"op": "release", "run_id": run_id, "fence": 1, "reason": "shutdown"}
        runner_id = self.run_of(run_id)["lease"]["runner_id"]
        self.fettle.post("/api/v1/work/report", {"runner_id": runner_id, "reports": [report]})
        run = self.ends(run_id)
        self.assertTrue(self.stopped.wait(WAIT_S))
        self.assertEqual((self.reasons, run["attempt"], run["retry_count"]), (["lease_lost"], 2, 0))

    def test_a_worker_that_is_stopped_lets_its_handler_finish(self) -> None:
        pool, finish = str(uuid.uuid4()), threading.Event()

        def handler(run: Run) -> None:
            self.began.set()
            finish.wait(WAIT_S)

        worker = self.working(pool, handler)
        run_id = self.fettle.enqueue(NewRun("durable", pool=pool)).run_id
        self.begins()
        stopping = threading.Thread(target=worker.stop)
        stopping.start()
        self.until("the worker to drain", lambda: worker.state == "draining")
        finish.set()
        stopping.join(WAIT_S)
        self.assertEqual((self.run_of(run_id)["state"], worker.state), ("succeeded", "stopped"))

    def test_what_a_stopped_worker_gives_back_is_resumed_behind_its_last_step(self) -> None:
        def handler(run: Run) -> None:
            run.step("one", lambda step: run.attempt)
            if run.attempt == 1:
                self.stops(run)

        pool = str(uuid.uuid4())
        first = self.working(pool, handler)
        run_id = self.fettle.enqueue(NewRun("durable", pool=pool)).run_id
        self.begins()
        first.stop(grace_ms=0)
        self.assertEqual(self.run_of(run_id)["state"], "ready")
        self.working(pool, handler)
        run = self.ends(run_id)
        said = (self.reasons, run["attempt"], run["retry_count"], run["steps"][0]["result"])
        self.assertEqual(said, (["shutdown"], 2, 0, 1))

    def test_a_side_effect_of_which_nobody_knows_is_settled_by_looking_and_never_repeated(self) -> None:
        effect = SideEffect("note", str(uuid.uuid4()), "hello", client_id="acme", platform="x")
        performed: list[int] = []

        def perform() -> None:
            performed.append(1)
            raise ConnectionResetError("the connection broke behind the request")

        def handler(run: Run) -> dict[str, Any]:
            with self.assertRaises(EffectUnknownError) as doubt:
                run.side_effect(effect, perform)
            if run.attempt == 1:
                raise RetryableError("somebody else shall look")
            listed = self.fettle.get("/api/v1/side-effects?to_check=true")["items"]
            self.assertIn(doubt.exception.side_effect_id, [one["side_effect_id"] for one in listed])
            settled = run.side_effect(effect, perform, lambda: Seen(visible=True, proof={"url": "https://x.example/1"}))
            return {"earlier": settled.earlier, "state": settled.state}

        run = self.ends(self.start(handler, **SOON))
        self.assertEqual((run["result"], len(performed)), ({"earlier": True, "state": "committed"}, 1))

    def test_every_option_of_a_run_reaches_the_server(self) -> None:
        key, due = str(uuid.uuid4()), datetime.now(timezone.utc) + timedelta(milliseconds=50)
        options: dict[str, Any] = {
            "client_id": "acme",
            "platform": "x",
            "lane": "background",
            "agent": "writer",
            "model": "m-1",
            "priority": 2,
            "max_retries": 7,
            "retry": RunRetry(base_ms=10, factor=3, cap_ms=20, elapsed_max_ms=1_000),
            "timeout_ms": 60_000,
            "run_at": due,
            "concurrency_key": key,
            "idempotency_key": key,
            "correlation_id": key,
            "job_id": "job_1",
            "request_id": "req_1",
            "trigger": Trigger("webhook", "evt_1"),
            "payload": {"n": 1},
        }
        run_id = self.start(lambda run: [run.job_id, run.request_id, run.lane], **options)
        run = self.ends(run_id)
        self.assertEqual(run["result"], ["job_1", "req_1", "background"])
        for name in ("client_id", "platform", "lane", "agent", "priority", "max_retries", "concurrency_key", "payload"):
            self.assertEqual(run[name], options[name], name)
        expected = {
            "request_id": "req_1",
            "correlation_id": key,
            "job_id": "job_1",
            "model": "m-1",
            "trigger": {"source": "webhook", "event_key": "evt_1"},
            "retry": {"base_ms": 10, "factor": 3, "cap_ms": 20, "elapsed_max_ms": 1_000},
            "timeout_ms": 60_000,
        }
        self.assertEqual(run["context"], expected)
        self.assertGreaterEqual(datetime.fromisoformat(run["started_at"]) - due, timedelta(milliseconds=-1))
        again = self.fettle.enqueue(NewRun("durable", pool=run["pool"], **options))
        self.assertEqual((again.run_id, again.created), (run_id, False))

    def test_records_keep_what_is_said_of_a_step_and_an_audit_event_all_that_the_server_takes(self) -> None:
        run_id, audit_id = str(uuid.uuid4()), f"mine-{uuid.uuid4()}"
        step: dict[str, Any] = {"run_id": run_id, "step_id": 4, "step_name": "post"}
        self.fettle.log_workflow_failure(WorkflowFailure(message="stalled", workflow="lead", **step))
        self.fettle.log_agent_failure(AgentLog(message="failed", **step))
        self.fettle.audit(
            AuditEvent(
                id=audit_id, action="job.delete", surface="api", lane="background", payload={"job": 1}, run_id=run_id
            )
        )
        self.fettle.flush()
        for collection in ("workflow_failures", "agent_logs"):
            (record,) = self.fettle.get(f"/api/v1/{collection}?ref={run_id}")["items"]
            self.assertEqual((record["step_id"], record["step_name"]), ("4", "post"))
        found = f"/api/v1/audit_logs?run_id={run_id}"
        (audit,) = self.until("the audit record", lambda: self.fettle.get(found)["items"])
        said = [audit["entry"][name] for name in ("audit_id", "action", "surface", "lane")]
        self.assertEqual(said, [audit_id, "job.delete", "api", "background"])
        self.assertEqual(audit["details"], {"payload": {"job": 1}})
