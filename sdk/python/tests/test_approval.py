from __future__ import annotations

import threading
from dataclasses import asdict
from datetime import timedelta

from fettle import CancelledError, LeaseLostError, Run, StopError

from .fake_server import FakeRun, Fault
from .setup import ServerTest

WAIT_S = 10
STEP = "approval:publish"


def ask(run: Run) -> dict[str, object]:
    return asdict(run.approval("publish", title="Publish?"))


class ApprovalTest(ServerTest):
    def started(self, handler: object, *faults: Fault, **options: object) -> FakeRun:
        self.server.fail("/approvals", *faults)
        made = self.server.add("lead")
        self.working(self.client(), {"lead": handler}, **options)
        return made

    def waits(self, run: FakeRun) -> None:
        self.server.until(lambda: run.state == "waiting")

    def decide(self, run: FakeRun, step: str = STEP, **result: object) -> None:
        self.waits(run)
        run.steps.append({"name": step, "status": "completed", "result": result})
        self.server.ready(run)

    def test_a_question_ends_the_attempt_and_the_next_one_has_the_decision_without_asking_again(self) -> None:
        def handler(run: Run) -> dict[str, object]:
            run.log("info", "about to ask")
            decision = run.approval(
                "publish",
                title="Publish?",
                role="manager",
                details={"post": 7},
                note="before noon",
                timeout=timedelta(minutes=1),
            )
            return asdict(decision)

        made = self.started(handler)
        self.waits(made)
        (question,) = self.server.of("/approvals")
        self.assertRegex(question.body.pop("expires_at"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            question.body,
            {
                "run_id": made.run_id,
                "fence": 1,
                "step": STEP,
                "title": "Publish?",
                "role": "manager",
                "details": {"post": 7, "note": "before noon"},
            },
        )
        self.decide(made, decision="approved", by="maya", note=None, edited={"post": 8})
        self.server.until(lambda: made.state == "succeeded")
        expected = {"decision": "approved", "decided_by": "maya", "note": None, "edited": {"post": 8}}
        self.assertEqual(made.result, expected)
        self.assertEqual(len(self.server.of("/approvals")), 1)
        ops = [report["op"] for report in self.server.reports()]
        self.assertEqual(ops, ["log", "heartbeat", "log", "complete"])
        self.assertEqual(made.late, [])

    def test_a_rejection_and_an_expired_question_are_decisions_too(self) -> None:
        made = self.started(ask)
        self.decide(made, decision="rejected", by="maya", note="no")
        self.server.until(lambda: made.state == "succeeded")
        self.assertEqual((made.result["decision"], made.result["note"]), ("rejected", "no"))
        other = self.server.add("lead")
        self.decide(other, decision="expired", by=None)
        self.server.until(lambda: other.state == "succeeded")
        self.assertEqual((other.result["decision"], other.result["decided_by"]), ("expired", None))

    def test_a_question_whose_answer_was_lost_is_the_same_question_when_it_is_repeated(self) -> None:
        made = self.started(ask, Fault(cut="after"))
        self.server.until(lambda: len([one for one in self.server.seen if one.path.endswith("/approvals")]) == 2)
        first, second = self.server.of("/approvals")
        self.assertEqual(first.headers["idempotency-key"], second.headers["idempotency-key"])
        self.decide(made, decision="approved")
        self.server.until(lambda: made.state == "succeeded")
        self.assertEqual(made.late, [])

    def test_a_question_that_the_server_refuses_fails_the_run(self) -> None:
        made = self.started(ask, Fault(status=400))
        self.server.until(lambda: made.state == "failed")
        self.assertEqual((made.error["status"], made.error["retryable"]), (400, False))

    def test_a_run_whose_lease_is_gone_asks_nobody(self) -> None:
        self.assertIsInstance(self.stopped_by(lambda made: self.server.revoke(made, {"cancel": True})), CancelledError)
        self.assertEqual(self.server.of("/approvals"), [])

    def test_a_lease_that_is_lost_between_the_last_report_and_the_question_stops_the_run_with_the_reason(self) -> None:
        hold = threading.Event()
        self.server.fail("/work/report", Fault(hold=hold))

        def lose(made: FakeRun) -> None:
            self.server.until(lambda: made.reports)
            self.server.revoke(made)
            hold.set()

        self.assertIsInstance(self.stopped_by(lose, held=True), LeaseLostError)
        self.assertEqual(len(self.server.of("/approvals")), 1)

    def stopped_by(self, lose: object, *, held: bool = False) -> StopError | None:
        """Why a run stops whose lease is lost: before it asks, or while its last report is held back."""
        began, lost, stopped = threading.Event(), threading.Event(), threading.Event()
        reasons: list[StopError | None] = []

        def handler(run: Run) -> None:
            began.set()
            lost.wait(WAIT_S)
            try:
                ask(run)
            finally:
                reasons.append(run.stop_reason)
                stopped.set()

        made = self.started(handler)
        self.assertTrue(began.wait(WAIT_S))
        if held:
            lost.set()
        lose(made)
        lost.set()
        self.assertTrue(stopped.wait(WAIT_S))
        return reasons[0]

    def test_no_heartbeat_follows_a_question_since_the_lease_ends_with_it(self) -> None:
        self.server.heartbeat_ms = 20
        hold = threading.Event()
        made = self.started(ask, Fault(hold=hold))
        self.waits(made)
        beats = len(self.server.reports("heartbeat"))
        self.assertFalse(hold.wait(0.1))  # five heartbeats' time
        self.assertEqual(len(self.server.reports("heartbeat")), beats)
        hold.set()
        self.decide(made, decision="approved")
        self.server.until(lambda: made.state == "succeeded")
        self.assertEqual(made.late, [])

    def test_what_was_used_outside_of_steps_is_counted_before_the_question_ends_the_attempt(self) -> None:
        def handler(run: Run) -> None:
            run.usage(tokens=7, cost_usd=0.5)
            ask(run)

        self.waits(self.started(handler))
        (used,) = self.server.reports("step_complete")
        self.assertEqual((used["name"], used["tokens"], used["cost_usd"]), (f"before {STEP}", 7, 0.5))

    def test_questions_of_one_name_are_told_apart_by_the_order_of_the_calls(self) -> None:
        made = self.started(lambda run: [ask(run), ask(run)])
        for step in (STEP, f"{STEP}#2"):
            self.waits(made)
            self.assertEqual(self.server.of("/approvals")[-1].body["step"], step)
            self.decide(made, step, decision="approved")
        self.server.until(lambda: made.state == "succeeded")
