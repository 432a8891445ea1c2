from __future__ import annotations

import threading
from datetime import datetime, timezone

from fettle import (
    Actor,
    AgentLog,
    AuditEvent,
    Carried,
    EnqueuedRun,
    FettleError,
    InvalidValueError,
    NewRun,
    ProblemError,
    Question,
    RetryPolicy,
    RunRetry,
    Target,
    Trigger,
    UnreachableError,
    WorkflowFailure,
    carrying,
)

from .fake_server import Fault
from .manual_clock import ManualClock
from .setup import ServerTest

WAIT_S = 10
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class CallTest(ServerTest):
    def test_a_try_whose_answer_was_lost_is_repeated_with_its_key_and_takes_effect_once(self) -> None:
        fettle = self.client(clock=ManualClock())
        self.server.fail("/runs", Fault(cut="after"), Fault(status=503), Fault(cut="before"))
        fettle.enqueue(NewRun("lead"))
        tries = self.server.of("/runs")
        self.assertEqual(len(self.server.runs), 1)
        self.assertEqual(len({one.headers["idempotency-key"] for one in tries}), 1)
        self.assertRegex(tries[0].headers["idempotency-key"], r'^"[0-9a-f-]{36}"$')

    def test_a_problem_comes_as_an_exception_with_its_members_and_is_not_repeated(self) -> None:
        fettle = self.client(clock=ManualClock())
        self.server.fail("/events", Fault(status=403, headers={"x-request-id": "req_7"}))
        with self.assertRaises(ProblemError) as raised:
            fettle.post_event("paid")
        problem = raised.exception
        self.assertEqual(
            (problem.status, problem.code, problem.title, problem.request_id), (403, "code_403", "on demand", "req_7")
        )
        self.assertEqual(len(self.server.of("/events")), 1)

    def test_a_first_try_still_under_way_is_waited_for(self) -> None:
        clock = ManualClock()
        self.server.fail("/events", Fault(status=409, headers={"retry-after": "1"}), Fault(status=409))
        with self.assertRaises(ProblemError):
            self.client(clock=clock).post_event("paid", idempotency_key='a "key"')
        self.assertEqual(clock.waits, [1000])
        self.assertEqual(self.server.of("/events")[0].headers["idempotency-key"], '"a__key_"')

    def test_a_server_that_is_away_ends_in_unreachable(self) -> None:
        fettle = self.client(clock=ManualClock(), retry=RetryPolicy(1))
        self.server.stop()
        with self.assertRaises(UnreachableError):
            fettle.post_event("paid")

    def test_a_kept_connection_that_the_server_has_closed_costs_no_wait(self) -> None:
        clock = ManualClock()
        fettle = self.client(clock=clock)
        fettle.post_event("first")
        self.server.fail("/events", Fault(cut="before"))
        fettle.post_event("second")
        self.assertEqual(clock.waits, [])

    def test_only_http_urls_are_taken(self) -> None:
        from fettle import Fettle

        for url in ("ftp://x", "no url"):
            with self.assertRaises(FettleError):
                Fettle(url)

    def test_the_token_is_sent(self) -> None:
        self.client(token="secret").post_event("paid")
        self.assertEqual(self.server.of("/events")[0].headers["authorization"], "Bearer secret")


class EnqueueTest(ServerTest):
    def test_runs_submitted_in_a_row_travel_together(self) -> None:
        fettle = self.client()
        hold = threading.Event()
        self.server.fail("/runs", Fault(hold=hold), Fault(hold=hold))
        futures = [fettle.submit(NewRun("lead")) for _ in range(2)]
        self.server.until(lambda: len(self.server.runs) >= 1)
        futures += [fettle.submit(NewRun("lead")) for _ in range(100)]
        hold.set()
        self.assertEqual(len({future.result(WAIT_S).run_id for future in futures}), 102)
        self.assertLessEqual(len(self.server.of("/runs")), 5)

    def test_a_run_travels_under_the_names_of_the_api(self) -> None:
        self.client().enqueue(
            NewRun(
                "lead",
                {"a": 1},
                client_id="acme",
                run_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, timezone.utc),
                max_retries=0,
                retry=RunRetry(base_ms=5),
                trigger=Trigger("mail", "inbox"),
            )
        )
        (sent,) = self.server.of("/runs")[0].body["runs"]
        self.assertEqual(
            sent,
            {
                "workflow": "lead",
                "payload": {"a": 1},
                "client_id": "acme",
                "run_at": "2026-01-02T03:04:05.678Z",
                "max_retries": 0,
                "retry": {"base_ms": 5},
                "trigger": {"source": "mail", "event_key": "inbox"},
            },
        )

    def test_each_of_many_runs_has_its_own_result(self) -> None:
        runs = [NewRun("lead"), NewRun("forbidden"), NewRun("lead", payload=object()), NewRun("lead")]
        made = self.client().enqueue_many(runs)
        kinds = [type(one) for one in made]
        self.assertEqual(kinds, [EnqueuedRun, ProblemError, InvalidValueError, EnqueuedRun])

    def test_the_callers_trace_baggage_and_correlation_id_go_with_the_run(self) -> None:
        with carrying(Carried(TRACE, "a=1", "correlation_id=c%201,k=v")):
            self.client().enqueue(NewRun("lead"))
        (sent,) = self.server.of("/runs")[0].body["runs"]
        self.assertEqual(
            (sent["traceparent"], sent["tracestate"], sent["baggage"], sent["correlation_id"]),
            (TRACE, "a=1", "correlation_id=c%201,k=v", "c 1"),
        )

    def test_a_context_for_somebody_else_has_the_correlation_id_in_its_baggage(self) -> None:
        carried = Carried(TRACE, None, "k=v", "c,1")
        self.assertEqual(carried.headers(), {"traceparent": TRACE, "baggage": "k=v,correlation_id=c%2C1"})


class RecordsTest(ServerTest):
    def test_records_carry_the_identifiers_of_the_context(self) -> None:
        fettle = self.client()
        with carrying(Carried(TRACE, None, None, "c_1")):
            fettle.log_agent_failure(
                AgentLog(message="failed", run_id="run_1", step_id=4, step_name="post", error=ValueError("no"))
            )
            fettle.log_workflow_failure(WorkflowFailure(message="failed", workflow="lead", retry_attempt=0))
            fettle.audit(
                AuditEvent(
                    action="job.delete",
                    id="mine-1",
                    actor=Actor("u_1", "user"),
                    target=Target("j_1"),
                    surface="api",
                    lane="background",
                    summary="gone",
                    payload={"id": 1},
                )
            )
        fettle.flush()
        ids = {"correlation_id": "c_1", "trace_id": TRACE[3:35], "span_id": TRACE[36:52]}
        records = self.server.records
        self.assertEqual(
            records["agent_logs"],
            [
                {
                    **ids,
                    "message": "failed",
                    "run_id": "run_1",
                    "step_id": "4",
                    "step_name": "post",
                    "level": "error",
                    "error": "no",
                }
            ],
        )
        self.assertEqual(
            records["workflow_failures"], [{**ids, "message": "failed", "workflow": "lead", "retry_attempt": 0}]
        )
        self.assertEqual(
            records["audit_logs"],
            [
                {
                    **ids,
                    "action": "job.delete",
                    "actor_id": "u_1",
                    "actor_type": "user",
                    "target_id": "j_1",
                    "payload_summary": "gone",
                    "id": "mine-1",
                    "surface": "api",
                    "lane": "background",
                    "payload": {"id": 1},
                }
            ],
        )


class ObservedTest(ServerTest):
    def test_a_block_reports_its_steps_and_its_end(self) -> None:
        with self.assertRaises(KeyError):
            with self.client().start_run(NewRun("batch")) as run:
                run.usage(tokens=5)
                with run.step("one") as step:
                    step.usage(tokens=3, cost_usd=0.5)
                with run.step("two"):
                    raise KeyError("no")
        started = self.server.of("/runs")[0].body
        self.assertEqual((started["observed"], started["status"]), (True, "running"))
        steps = [step for one in self.server.of("/runs/run_1/steps") for step in one.body["steps"]]
        said = [(step["step"], step["name"], step["status"], step.get("tokens")) for step in steps]
        self.assertEqual(
            said,
            [
                (1, "one", "running", None),
                (1, "one", "succeeded", 3),
                (2, "two", "running", None),
                (2, "two", "failed", 0),
            ],
        )
        (end,) = self.server.of("/runs/run_1/end")
        self.assertEqual((end.body["status"], end.body["error"]["type"], end.body["tokens"]), ("failed", "KeyError", 5))


class MayITest(ServerTest):
    def test_a_verdict_is_kept_as_long_as_the_server_says(self) -> None:
        clock = ManualClock()
        fettle = self.client(clock=clock)
        question = Question(client_id="acme", tool="crm")
        sources = [fettle.may_i(question).source for _ in range(3)]
        clock.ms += 1001
        sources.append(fettle.may_i(question).source)
        self.assertEqual(sources, ["server", "cache", "cache", "server"])
        self.assertEqual(self.server.of("/may-i")[0].query, {"client_id": ["acme"], "tool": ["crm"]})

    def test_while_the_server_is_away_the_rule_of_the_class_decides(self) -> None:
        clock = ManualClock()
        fettle = self.client(clock=clock)
        self.server.verdict |= {"on_unreachable": "allow"}
        self.assertTrue(fettle.may_i(Question(action_class="read")))
        clock.ms += 1001
        self.server.fail("/may-i", *(Fault(status=503) for _ in range(3)))
        verdict = fettle.may_i(Question(action_class="read"))
        self.assertEqual((verdict.allowed, verdict.source), (True, "unreachable"))
        self.assertFalse(fettle.may_i(Question(action_class="publish")))
        self.assertTrue(fettle.may_i(Question(action_class="publish"), on_unreachable="allow"))
        self.assertEqual(len(self.server.of("/may-i")), 4)  # not repeated

    def test_a_question_that_is_refused_is_an_error(self) -> None:
        self.server.fail("/may-i", Fault(status=401))
        with self.assertRaises(ProblemError):
            self.client().may_i()
