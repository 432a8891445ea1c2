from __future__ import annotations

import io
import json
import logging
import threading
from datetime import timedelta

from fettle import (
    AgentLog,
    CancelledError,
    FatalError,
    LeaseLostError,
    ProblemError,
    Question,
    RetryableError,
    RetryPolicy,
    Run,
    ShutdownError,
    SideEffect,
    StepFormatter,
    StopError,
    StoppedError,
    carried_now,
)

from .fake_server import Fault
from .setup import ServerTest

WAIT_S = 10
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class WorkerTest(ServerTest):
    def setUp(self) -> None:
        super().setUp()
        self.stopped_by: StopError | None = None
        self.has_stopped = threading.Event()

    def run_one(self, handler: object, run: dict[str, object] | None = None, **options: object) -> object:
        """Works on one run until it is no longer leased."""
        made = self.server.add("lead", run, options.pop("steps", None))
        made.step_retries = options.pop("step_retries", 0)
        self.working(self.client(), {"lead": handler}, **options)
        self.server.until(lambda: made.state not in ("queued", "leased"))
        return made

    def test_a_worker_registers_what_it_can_do_leases_and_completes(self) -> None:
        made = self.run_one(lambda run: {"twice": run.payload * 2}, {"payload": 21}, pool="p", concurrency=3)
        self.assertEqual((made.state, made.result), ("succeeded", {"twice": 42}))
        registered = self.server.of("/workers")[0].body
        self.assertEqual((registered["pool"], registered["capacity"], registered["workflows"]), ("p", 3, ["lead"]))

    def test_no_more_handlers_run_at_once_than_the_worker_was_given(self) -> None:
        gate, arrived = threading.Event(), threading.Semaphore(0)
        for _ in range(9):
            self.server.add("lead")

        def handler(run: Run) -> None:
            arrived.release()
            gate.wait(WAIT_S)

        worker = self.working(self.client(), {"lead": handler}, concurrency=3)
        for _ in range(3):
            self.assertTrue(arrived.acquire(timeout=WAIT_S))
        self.assertEqual(worker.running, 3)
        self.assertFalse(arrived.acquire(timeout=0.05))
        gate.set()
        self.server.until(lambda: all(run.state == "succeeded" for run in self.server.runs.values()))

    def test_a_completed_step_is_not_run_again_and_its_result_is_remembered(self) -> None:
        ran: list[str] = []

        def handler(run: Run) -> list[object]:
            one = run.step("one", lambda step: ran.append("one"))
            return [one, run.step("two", lambda step: ran.append("two") or step.step_id)]

        made = self.run_one(handler, steps=[{"name": "one", "status": "completed", "result": 7}])
        self.assertEqual((ran, made.result), (["two"], [7, 2]))

    def test_the_next_step_begins_only_when_the_one_before_is_on_record(self) -> None:
        seen: list[int] = []

        def handler(run: Run) -> None:
            run.step("one", lambda step: None)
            run.step("two", lambda step: seen.append(len(self.server.reports("step_complete"))))

        self.run_one(handler)
        self.assertEqual(seen, [1])

    def test_a_name_used_twice_is_two_steps(self) -> None:
        made = self.run_one(lambda run: [run.step("fetch", lambda step: step.name) for _ in range(2)])
        self.assertEqual(made.result, ["fetch", "fetch#2"])

    def test_a_step_is_retried_in_place_by_its_own_policy_with_what_it_used_counted(self) -> None:
        tries: list[int] = []

        def body(step: object) -> str:
            tries.append(1)
            step.usage(tokens=2)
            if len(tries) < 3:
                raise RetryableError("again")
            return "done"

        made = self.run_one(lambda run: run.step("one", body, retry=RetryPolicy(5, base_ms=1)))
        self.assertEqual(made.result, "done")
        self.assertEqual([report["will_retry"] for report in self.server.reports("step_fail")], [True, True])
        self.assertEqual([report["tokens"] for report in self.server.reports("step_fail")], [2, 2])

    def test_a_step_is_retried_in_place_as_often_as_the_server_says(self) -> None:
        def body(step: object) -> None:
            raise RetryableError("again")

        made = self.run_one(lambda run: run.step("one", body), step_retries=2)
        self.assertEqual((made.state, len(self.server.reports("step_fail"))), ("failed", 3))

    def test_a_failure_says_whether_a_retry_is_in_vain(self) -> None:
        def handler(run: Run) -> None:
            raise FatalError("never", code="BAD_LEAD")

        made = self.run_one(handler)
        self.assertEqual((made.error["code"], made.error["retryable"]), ("BAD_LEAD", False))
        self.assertIn("test_worker.py", made.error["stack"])

    def test_a_result_that_json_cannot_say_fails_the_run_instead_of_vanishing(self) -> None:
        made = self.run_one(lambda run: object())
        self.assertEqual((made.state, made.error["code"]), ("failed", "invalid_value"))

    def test_a_handler_that_exits_ends_its_run_and_not_the_worker(self) -> None:
        def handler(run: Run) -> None:
            raise SystemExit(1)

        self.assertEqual(self.run_one(handler, concurrency=1).state, "failed")
        again = self.server.add("lead")
        self.server.until(lambda: again.state == "failed")

    def test_what_was_used_outside_of_steps_goes_with_the_end(self) -> None:
        self.run_one(lambda run: run.usage(tokens=5, cost_usd=0.25))
        (end,) = self.server.reports("complete")
        self.assertEqual((end["tokens"], end["cost_usd"]), (5, 0.25))

    # ---- heartbeats and stops

    def until_stopped(self, run: Run) -> None:
        self.assertTrue(run.stopping.wait(WAIT_S))
        self.stopped_by = run.stop_reason
        self.has_stopped.set()
        run.check()

    def test_held_runs_are_heartbeated_with_the_progress_that_was_made(self) -> None:
        self.server.heartbeat_ms = 20
        gate = threading.Event()

        def handler(run: Run) -> None:
            run.progress(done=1, total=2)
            gate.wait(WAIT_S)

        self.server.add("lead")
        self.working(self.client(), {"lead": handler})
        self.server.until(lambda: len(self.server.reports("heartbeat")) >= 2)
        gate.set()
        progress = [report.get("progress") for report in self.server.reports("heartbeat")]
        self.assertEqual(progress.count({"done": 1, "total": 2}), 1)

    def test_a_cancelled_run_hears_so_with_the_next_heartbeat_and_fails_for_good(self) -> None:
        self.server.heartbeat_ms = 20
        made = self.server.add("lead")
        made.cancel = True
        self.working(self.client(), {"lead": self.until_stopped})
        self.server.until(lambda: made.state == "failed")
        self.assertIsInstance(self.stopped_by, CancelledError)
        self.assertEqual((made.error["code"], made.error["retryable"]), ("cancelled", False))

    def test_a_kill_switch_stops_the_run_which_is_given_back(self) -> None:
        self.server.heartbeat_ms = 20
        made = self.server.add("lead")
        made.stop = {"id": "sw_1", "reason": "stop it"}
        self.working(self.client(), {"lead": self.until_stopped})
        self.server.until(lambda: made.state == "released")
        self.assertIsInstance(self.stopped_by, StoppedError)
        self.assertEqual(self.server.reports("release")[0]["reason"], "stopped")

    def test_a_lease_that_went_to_another_is_heard_of_by_the_fence_and_nothing_is_applied(self) -> None:
        self.server.heartbeat_ms = 20
        began = threading.Event()

        def handler(run: Run) -> None:
            began.set()
            self.until_stopped(run)

        made = self.server.add("lead")
        worker = self.working(self.client(), {"lead": handler})
        self.assertTrue(began.wait(WAIT_S))
        self.server.revoke(made)
        self.server.until(lambda: any(report["op"] == "fail" for report in made.late))
        self.assertIsInstance(self.stopped_by, LeaseLostError)
        worker.settled()
        self.assertEqual(made.state, "elsewhere")

    def test_no_step_begins_after_the_lease_is_lost(self) -> None:
        ran: list[int] = []

        def handler(run: Run) -> None:
            self.server.revoke(made)
            run.step("one", lambda step: None)
            ran.append(1)

        made = self.server.add("lead")
        self.working(self.client(), {"lead": handler})
        self.server.until(lambda: any(report["op"] == "fail" for report in made.late))
        self.assertEqual(ran, [])

    def test_when_no_heartbeat_gets_through_the_run_stops_before_its_lease_ends(self) -> None:
        self.server.lease_ms, self.server.heartbeat_ms = 550, 20
        hold = threading.Event()
        self.server.fail("/work/report", Fault(hold=hold))
        made = self.server.add("lead")
        self.working(self.client(), {"lead": self.until_stopped})
        self.addCleanup(hold.set)  # the first to be cleaned up
        self.server.until(lambda: self.server.of("/work/report"))
        self.assertEqual(made.state, "leased")
        self.assertTrue(self.has_stopped.wait(WAIT_S))
        self.assertIsInstance(self.stopped_by, LeaseLostError)

    def test_a_side_effect_reserved_under_a_lost_lease_stops_the_run(self) -> None:
        performed: list[int] = []

        def handler(run: Run) -> None:
            run.side_effect(SideEffect("send", "a"), lambda: performed.append(1))

        self.server.decisions.append({"status": 409, "code": "late", "detail": "another has it"})
        made = self.run_one(handler)
        self.assertEqual((performed, made.error["code"]), ([], "lease_lost"))

    # ---- leasing

    def test_a_server_that_is_away_is_asked_again_and_the_worker_goes_on(self) -> None:
        errors: list[BaseException] = []
        self.server.fail("/work/lease", Fault(status=503), *[Fault(cut="before")] * 2)
        made = self.run_one(lambda run: None, on_error=errors.append)
        self.assertEqual((made.state, len(errors)), ("succeeded", 2))

    def test_a_server_that_does_not_know_the_worker_any_more_is_told_again(self) -> None:
        self.server.fail("/work/lease", Fault(status=404))
        self.run_one(lambda run: None)
        self.assertEqual(len(self.server.of("/workers")), 2)

    def test_a_worker_that_may_not_work_says_so_when_it_starts(self) -> None:
        self.server.fail("/workers", Fault(status=403))
        with self.assertRaises(ProblemError):
            self.client().worker({}).start()

    # ---- the end

    def test_stopping_lets_what_runs_finish_gives_back_what_has_not_begun_and_leases_no_more(self) -> None:
        gate, began = threading.Event(), threading.Event()

        def handler(run: Run) -> None:
            began.set()
            gate.wait(WAIT_S)

        first = self.server.add("lead")
        worker = self.client().worker({"lead": handler}, concurrency=1)
        worker.start()
        self.assertTrue(began.wait(WAIT_S))
        stopping = threading.Thread(target=worker.stop)
        stopping.start()
        self.server.until(lambda: self.server.of(f"/workers/{worker.runner_id}/drain"))
        second = self.server.add("lead")
        gate.set()
        stopping.join(WAIT_S)
        self.assertEqual((first.state, second.state, worker.state), ("succeeded", "queued", "stopped"))
        left = self.server.of(f"/workers/{worker.runner_id}")
        self.assertEqual([one.method for one in left], ["DELETE"])

    def test_what_does_not_finish_in_its_grace_is_stopped_and_given_back(self) -> None:
        made = self.server.add("lead")
        began = threading.Event()

        def handler(run: Run) -> None:
            run.step("one", lambda step: None)
            began.set()
            self.until_stopped(run)

        worker = self.client().worker({"lead": handler})
        worker.start()
        self.assertTrue(began.wait(WAIT_S))
        worker.stop(grace_ms=1)
        self.assertIsInstance(self.stopped_by, ShutdownError)
        self.assertEqual((made.state, [step["name"] for step in made.steps]), ("released", ["one"]))

    # ---- sleeping and waiting

    def test_a_run_that_sleeps_leaves_the_worker_and_goes_on_behind_the_sleep(self) -> None:
        def handler(run: Run) -> str:
            run.step("one", lambda step: None)
            try:
                run.sleep(timedelta(minutes=1))
            except Exception:
                return "a sleep is no exception"
            return "awake"

        made = self.run_one(handler)
        self.assertEqual(made.state, "sleeping")
        (sleep,) = self.server.reports("sleep")
        self.assertEqual((sleep["step"], sleep["name"]), (2, "sleep:sleep"))
        self.assertRegex(sleep["until"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        made.steps.append({"name": "sleep:sleep", "status": "completed"})
        self.server.ready(made)
        self.server.until(lambda: made.state == "succeeded")
        self.assertEqual(made.result, "awake")

    def test_a_run_that_waits_for_an_event_gets_its_payload_or_a_timeout(self) -> None:
        def handler(run: Run) -> object:
            return run.wait_for("paid", key="inv_1", timeout=timedelta(hours=1))

        made = self.run_one(handler)
        (wait,) = self.server.reports("wait")
        self.assertEqual((wait["event"], wait["key"], wait["name"]), ("paid", "inv_1", "wait:paid"))
        made.steps.append({"name": "wait:paid", "status": "completed", "result": {"payload": {"amount": 5}}})
        self.server.ready(made)
        self.server.until(lambda: made.state == "succeeded")
        self.assertEqual(made.result, {"amount": 5})
        late = self.server.add(
            "lead", steps=[{"name": "wait:paid", "status": "completed", "result": {"expired": True}}]
        )
        self.server.until(lambda: late.state == "failed")
        self.assertEqual(late.error["type"], "TimeoutError")

    # ---- what a run says

    def test_side_effects_records_and_questions_of_a_run_carry_its_identifiers(self) -> None:
        def handler(run: Run) -> None:
            run.side_effect(SideEffect("send", "a"), lambda: None)
            run.log_agent_failure(AgentLog(message="failed")).result(WAIT_S)
            run.may_i(Question(tool="crm"))

        ids = {"client_id": "acme", "platform": "x", "agent": "writer", "request_id": "req_1", "correlation_id": "c_1"}
        self.run_one(handler, ids)
        reserved = self.server.effects["fx_1"]["reserve"]
        self.assertEqual((reserved["run_id"], reserved["fence"], reserved["client_id"]), ("run_1", 1, "acme"))
        record = self.server.records["agent_logs"][0]
        said = {name: record[name] for name in ("run_id", "client_id", "agent", "request_id", "correlation_id")}
        expected = {name: ids[name] for name in ("client_id", "agent", "request_id", "correlation_id")}
        self.assertEqual(said, {"run_id": "run_1", **expected})
        self.assertEqual(self.server.of("/may-i")[0].query["workflow"], ["lead"])

    def test_the_context_of_a_run_is_active_in_its_handler(self) -> None:
        def handler(run: Run) -> object:
            carried = carried_now()
            return [carried.traceparent, carried.baggage, carried.correlation_id]

        made = self.run_one(handler, {"traceparent": TRACE, "baggage": "k=v", "correlation_id": "c_1"})
        self.assertEqual(made.result, [TRACE, "k=v", "c_1"])

    def test_the_two_step_lines_have_exactly_their_keys(self) -> None:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(StepFormatter())
        logger = logging.Logger("steps")
        logger.addHandler(handler)

        def lead(run: Run) -> None:
            run.step("parseEmail", lambda step: step.usage(tokens=156, cost_usd=0.0004))
            run.step("createCRMRecord", self.timeout)

        made = self.server.add("lead", {"request_id": "req_1"})
        made.retry_count = 3
        self.working(self.client(), {"lead": lead}, logger=logger)
        self.server.until(lambda: made.state == "failed")
        lines = [json.loads(line) | {"duration": 0} for line in stream.getvalue().splitlines()]
        head = {"requestId": "req_1", "runId": "run_1"}
        completed = {"stepId": 1, "stepName": "parseEmail", "duration": 0, "tokens": 156, "costUsd": 0.0004}
        failed = {"stepId": 2, "stepName": "createCRMRecord", "duration": 0, "retryCount": 3}
        failed["error"] = "API_TIMEOUT: Connection timeout after 5s"
        expected = [
            {"level": "info", **head, **completed, "action": "step_completed"},
            {"level": "error", **head, **failed, "action": "step_failed"},
        ]
        self.assertEqual([list(line.items()) for line in lines], [list(line.items()) for line in expected])

    @staticmethod
    def timeout(step: object) -> None:
        raise RetryableError("Connection timeout after 5s", code="API_TIMEOUT")


class SignalTest(ServerTest):
    def test_sigterm_ends_run_gracefully(self) -> None:
        import os
        import signal

        made = self.server.add("lead")

        def handler(run: Run) -> str:
            os.kill(os.getpid(), signal.SIGTERM)
            return "finished"

        before = signal.getsignal(signal.SIGTERM)
        worker = self.client().worker({"lead": handler})
        worker.run()
        self.assertEqual((made.state, made.result, worker.state), ("succeeded", "finished", "stopped"))
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
