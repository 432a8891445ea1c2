"""The server's half of the wire contract in memory, with faults on demand: what the SDK is tested against where the
real server cannot be made to fail on cue."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Body = dict[str, Any]
WAIT_S = 10


@dataclass
class Fault:
    """One request goes wrong: an answer of its own; the connection cut before the request is handled, or after it; or
    the answer held back until an event."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: str = ""
    hold: threading.Event | None = None


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Body


@dataclass
class FakeRun:
    run_id: str
    run: Body
    state: str = "queued"
    fence: int = 0
    attempt: int = 0
    retry_count: int = 0
    steps: list[Body] = field(default_factory=list)
    cancel: bool = False
    stop: Body | None = None
    why: Body = field(default_factory=dict)
    step_retries: int = 0  # retries in place that the policy of a step grants
    error: Body = field(default_factory=dict)
    result: Any = None
    late: list[Body] = field(default_factory=list)
    reports: list[Body] = field(default_factory=list)


class FakeServer:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.seen: list[Seen] = []
        self.runs: dict[str, FakeRun] = {}
        self.records: dict[str, list[Body]] = defaultdict(list)
        self.effects: dict[str, Body] = {}
        self.decisions: deque[Body] = deque()
        self.verdict: Body = {
            "allowed": True,
            "reason": None,
            "switch": None,
            "cache_ms": 1000,
            "on_unreachable": "refuse",
        }
        self.lease_ms, self.heartbeat_ms = 10_000, 3_000
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._stored: dict[str, tuple[int, bytes]] = {}
        self._draining: set[str] = set()
        self._stopped = False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                fake._serve(self)

            def do_POST(self) -> None:
                fake._serve(self)

            def do_DELETE(self) -> None:
                fake._serve(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass  # a client that has gone

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        with self.changed:
            self._stopped = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    # ---- what a test says and asks

    def fail(self, path: str, *faults: Fault) -> None:
        """The next requests to a path (without /api/v1) go wrong so, one each."""
        self._faults[path].extend(faults)

    def of(self, path: str) -> list[Seen]:
        with self.changed:
            return [one for one in self.seen if one.path == f"/api/v1{path}"]

    def reports(self, op: str | None = None) -> list[Body]:
        found = [report for one in self.of("/work/report") for report in one.body["reports"]]
        return [report for report in found if op is None or report["op"] == op]

    def until(self, reached: Callable[[], Any]) -> None:
        """Waits for what a request will have changed."""
        with self.changed:
            if not self.changed.wait_for(reached, WAIT_S):
                raise AssertionError("what was awaited did not happen")

    def add(self, workflow: str, run: Body | None = None, steps: list[Body] | None = None) -> FakeRun:
        with self.changed:
            made = FakeRun(f"run_{len(self.runs) + 1}", {"workflow": workflow, **(run or {})}, steps=steps or [])
            self.runs[made.run_id] = made
            self.changed.notify_all()
            return made

    def revoke(self, run: FakeRun, why: Body | None = None) -> None:
        """Another worker gets the run: the fence that is out is no longer good."""
        with self.changed:
            run.why = why or {}
            run.fence += 1
            run.state = "elsewhere"

    def ready(self, run: FakeRun) -> None:
        with self.changed:
            run.state = "queued"
            self.changed.notify_all()

    # ---- the wire

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        text = request.rfile.read(int(request.headers.get("content-length") or 0))
        body = json.loads(text) if text else {}
        path = url.path.removeprefix("/api/v1")
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self.changed:
            self.seen.append(Seen(request.command, url.path, parse_qs(url.query), headers, body))
            fault = self._faults[path].popleft() if self._faults[path] else Fault()
            self.changed.notify_all()
        if fault.cut == "before":
            self._cut(request)
            return
        if fault.status:
            problem = {"title": "on demand", "status": fault.status, "code": f"code_{fault.status}"}
            self._answer(request, fault.status, json.dumps(problem).encode(), fault.headers)
            return
        memory = f"{path} {headers.get('idempotency-key')}"
        stored = self._stored.get(memory) if request.command == "POST" else None
        if stored is None:
            status, value = self._handle(path, body)
            stored = status, json.dumps(value).encode()
            self._stored[memory] = stored
        with self.changed:
            self.changed.notify_all()
        if fault.hold is not None:
            fault.hold.wait(WAIT_S)
        if fault.cut == "after":
            self._cut(request)
            return
        self._answer(request, stored[0], stored[1], {})

    def _cut(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, request: BaseHTTPRequestHandler, status: int, text: bytes, headers: dict[str, str]) -> None:
        request.send_response(status)
        for name, value in {"content-length": str(len(text)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text)

    def _handle(self, path: str, body: Body) -> tuple[int, Any]:
        if re.fullmatch(r"/runs/[^/]+/(steps|end)", path):
            return 200, {"results": [{"ok": True} for _ in body.get("steps", ())]}
        if effect := re.fullmatch(r"/side-effects/([^/]+)/(commit|verify|release)", path):
            return self._effect(effect[1], effect[2], body)
        if re.fullmatch(r"/workers/[^/]+", path):
            return 200, {}
        if path.endswith("/drain"):
            with self.changed:
                self._draining.add(path.split("/")[2])
                self.changed.notify_all()
            return 200, {}
        if path == "/runs":
            if "runs" not in body:
                return 201, self._create(body)
            return 200, {"results": [self._create(run) for run in body["runs"]]}
        if path == "/workers":
            return 200, {"lease_ms": self.lease_ms, "heartbeat_ms": self.heartbeat_ms}
        if path == "/work/lease":
            return 200, {"leases": self._lease(body), "kill": []}
        if path == "/work/report":
            with self.changed:
                return 200, {"results": [self._report(report) for report in body["reports"]]}
        if path == "/events":
            return 200, {}
        if path == "/approvals":
            with self.changed:
                return self._ask(body)
        if path == "/may-i":
            return 200, self.verdict
        if path == "/side-effects/reserve":
            return self._reserve(body)
        if path in ("/agent_logs", "/workflow_failures", "/audit_logs"):
            with self.changed:
                kept = self.records[path[1:]]
                kept.extend(body["records"])
                return 200, {"results": [{"ok": True, "id": f"rec_{len(kept)}"} for _ in body["records"]]}
        return 404, {"title": "no such path", "status": 404, "code": "not_found"}

    def _create(self, run: Body) -> Body:
        if run["workflow"] == "forbidden":
            return {"ok": False, "error": {"status": 403, "code": "forbidden", "title": "forbidden"}}
        made = self.add(run["workflow"], run)
        return {"ok": True, "run_id": made.run_id, "state": run.get("status", "queued"), "created": True}

    def _lease(self, body: Body) -> list[Body]:
        def found() -> list[FakeRun]:
            return [run for run in self.runs.values() if run.state == "queued"][: body["max"]]

        with self.changed:
            ended = lambda: self._stopped or body["runner_id"] in self._draining  # noqa: E731
            self.changed.wait_for(lambda: found() or ended(), body["wait_ms"] / 1000)
            if ended():
                return []
            leases = []
            for run in found():
                run.state = "leased"
                run.attempt += 1
                run.fence += 1
                ours = {"run_id": run.run_id, "attempt": run.attempt, "fence": run.fence, "steps": list(run.steps)}
                leases.append({**run.run, **ours, "retry_count": run.retry_count})
            return leases

    def _report(self, report: Body) -> Body:
        run = self.runs[report["run_id"]]
        if run.fence != report["fence"] or run.state != "leased":
            run.late.append(report)
            return {"ok": False, "error": {"status": 409, "code": "late", "title": "late", **run.why}}
        op = report["op"]
        run.reports.append(report)
        if op == "step_complete":
            run.steps.append({"name": report["name"], "status": "completed", "result": report.get("result")})
        if op == "complete":
            run.state, run.result = "succeeded", report["result"]
        if op == "fail":
            run.state, run.error = "failed", report["error"]
        run.state = {"sleep": "sleeping", "wait": "waiting", "release": "released"}.get(op, run.state)
        usual = {"ok": True, "state": run.state, "cancel": run.cancel, "stop": run.stop}
        if op == "step_fail" and run.step_retries:
            run.step_retries -= 1
            return {**usual, "will_retry": True, "retry_after_ms": 1}
        return usual

    def _ask(self, body: Body) -> tuple[int, Body]:
        run = self.runs[body["run_id"]]
        if run.fence != body["fence"] or run.state != "leased":
            return 409, {"status": 409, "code": "conflict"}
        run.state = "waiting"
        return 200, {"state": "parked", "result": None}

    def _reserve(self, body: Body) -> tuple[int, Body]:
        names = ("action", "target", "payload_hash", "client_id")
        known = [
            (effect_id, effect)
            for effect_id, effect in self.effects.items()
            if effect["state"] == "committed" and all(effect["reserve"].get(name) == body.get(name) for name in names)
        ]
        if not self.decisions and known:
            return 200, {
                "side_effect_id": known[-1][0],
                "decision": "committed",
                "earlier": {"result": known[-1][1]["result"]},
            }
        effect_id = f"fx_{len(self.effects) + 1}"
        self.effects[effect_id] = {"state": "reserved", "reserve": body}
        decision = self.decisions.popleft() if self.decisions else {"decision": "go_on"}
        if "status" in decision:
            return decision["status"], decision
        return 200, {"side_effect_id": effect_id, "earlier": None, **decision}

    def _effect(self, effect_id: str, verb: str, body: Body) -> tuple[int, Body]:
        effect = self.effects[effect_id]
        if verb == "commit":
            effect["state"] = "committed" if (body.get("proof") or {}).get("url") else "unverified"
            effect["result"] = body["result"]
        if verb == "verify":
            effect["state"] = "committed" if body["visible"] else "absent"
        if verb == "release":
            effect["state"] = "released"
        effect[verb] = body
        return 200, {"state": effect["state"]}
