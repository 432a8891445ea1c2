"""What the SDK and a server agree on, whichever server it is: the one in memory, or the one at FETTLE_URL."""

from __future__ import annotations

import os
import threading
import unittest
import uuid
from typing import Any

from fettle import (
    Actor,
    AgentLog,
    AuditEvent,
    EnqueuedRun,
    Fettle,
    NewRun,
    Performed,
    ProblemError,
    Question,
    Run,
    SideEffect,
    Target,
    WorkflowFailure,
)

from .fake_server import FakeServer

REAL = os.environ.get("FETTLE_URL")
WAIT_S = 30


class ContractTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.fake = None if REAL else FakeServer()
        cls.fettle = Fettle(REAL or cls.fake.url)
        cls.pool = f"contract-{uuid.uuid4().hex[:8]}"  # nobody else works here
        cls.changed = threading.Condition()
        cls.ended: dict[str, tuple[Any, int]] = {}
        cls.worker = cls.fettle.worker({"plain": cls.end, "stepped": cls.stepped}, pool=cls.pool, concurrency=20)
        cls.worker.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.worker.stop()
        cls.fettle.close()
        if cls.fake:
            cls.fake.stop()

    @classmethod
    def end(cls, run: Run) -> None:
        with cls.changed:
            cls.ended[run.run_id] = run.payload, run.attempt
            cls.changed.notify_all()

    @classmethod
    def stepped(cls, run: Run) -> None:
        run.step("one", lambda step: step.usage(tokens=3, cost_usd=0.01))
        run.log("info", "between", {"n": 1})
        run.progress(done=1, total=2)
        run.step("two", lambda step: {"deep": ["value"]})
        cls.end(run)

    def end_of(self, run_id: str) -> tuple[Any, int]:
        with self.changed:
            self.assertTrue(self.changed.wait_for(lambda: run_id in self.ended, WAIT_S), f"{run_id} did not end")
            return self.ended[run_id]

    def test_a_run_is_enqueued_worked_on_and_its_payload_arrives_as_it_was(self) -> None:
        payload = {"text": 'ünï 🚀 \u0000 "quoted"', "list": [1, 2.5, None, True], "deep": {"a": {"b": {}}}}
        made = self.fettle.enqueue(NewRun("plain", payload, pool=self.pool, client_id="acme", platform="x"))
        self.assertTrue(made.created)
        self.assertEqual(self.end_of(made.run_id)[0], payload)

    def test_a_thousand_runs_enqueued_at_once_are_each_worked_on_once(self) -> None:
        made = self.fettle.enqueue_many(NewRun("plain", at, pool=self.pool) for at in range(1000))
        ids = [one.run_id for one in made if isinstance(one, EnqueuedRun)]
        self.assertEqual(len(set(ids)), 1000)
        self.assertEqual([self.end_of(run_id) for run_id in ids], [(at, 1) for at in range(1000)])

    def test_steps_lines_progress_and_usage_of_a_run_are_taken(self) -> None:
        self.end_of(self.fettle.enqueue(NewRun("stepped", pool=self.pool)).run_id)
        self.worker.settled()

    @unittest.skipUnless(REAL, "the one in memory has no limits")
    def test_a_run_that_is_refused_comes_back_with_its_problem(self) -> None:
        (refused,) = self.fettle.enqueue_many([NewRun("x" * 100_000, pool=self.pool)])
        self.assertIsInstance(refused, ProblemError)

    @unittest.skipUnless(REAL, "the one in memory knows no keys of runs")
    def test_an_idempotency_key_makes_one_run_and_another_payload_is_refused(self) -> None:
        key = str(uuid.uuid4())
        run = NewRun("nobody works on this", 1, pool=f"{self.pool}-idle", idempotency_key=key)
        first, second = self.fettle.enqueue(run), self.fettle.enqueue(run)
        self.assertEqual((first.run_id, first.created, second.created), (second.run_id, True, False))
        with self.assertRaises(ProblemError) as refused:
            self.fettle.enqueue(NewRun("nobody works on this", 2, pool=f"{self.pool}-idle", idempotency_key=key))
        self.assertEqual(refused.exception.status, 422)

    def test_an_observed_run_is_started_stepped_through_and_ended(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            with self.fettle.start_run(NewRun("observed", client_id="acme")) as run:
                with run.step("one") as step:
                    step.usage(tokens=3)
                with run.step("two"):
                    1 / 0

    def test_a_side_effect_is_performed_once_and_told_to_whoever_repeats_it(self) -> None:
        effect = SideEffect("note", f"t-{uuid.uuid4()}", {"text": "hello"}, client_id="acme", platform="x")
        performed: list[int] = []

        def perform() -> Performed:
            performed.append(1)
            return Performed({"id": len(performed)}, {"url": "https://x.example/1"})

        first, second = (self.fettle.side_effect(effect, perform) for _ in range(2))
        self.assertEqual(len(performed), 1)
        self.assertEqual((first.earlier, second.earlier, second.result), (False, True, {"id": 1}))

    def test_may_i(self) -> None:
        verdict = self.fettle.may_i(Question(client_id="acme", platform="x", tool="crm"))
        self.assertEqual((verdict.allowed, verdict.source), (True, "server"))

    def test_records_of_each_kind_are_taken_and_named(self) -> None:
        audit = AuditEvent(
            action="job.delete", actor=Actor("u_1", type="user"), target=Target("j_1", type="job"), result="success"
        )
        made = [
            self.fettle.log_agent_failure(AgentLog(run_id="run_1", step_id=4, message="failed", error=OSError("no"))),
            self.fettle.log_workflow_failure(WorkflowFailure(run_id="run_1", workflow="lead", message="failed")),
            self.fettle.log_audit_event(audit),
        ]
        for one in made:
            self.assertTrue(one.result(WAIT_S))
