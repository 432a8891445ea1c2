"""Records that others will read: why an agent failed, why a workflow stalled, who did what."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from .batcher import Answer, Batcher, Limits
from .call import Caller, item_error
from .clock import rfc3339_of
from .enqueue import mapped
from .errors import error_text
from .jsontext import Json, json_bytes, without_none
from .trace import active_ids, carried_now

Collection = Literal[
    "agent_runs", "agent_logs", "workflow_triggers", "workflow_failures", "audit_logs", "webhook_events"
]


@dataclass(frozen=True, kw_only=True)
class Identifiers:
    """What any record may carry. The trace's ids and the correlation id are filled in from the context."""

    request_id: str | None = None
    correlation_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    client_id: str | None = None
    run_id: str | None = None
    #: The step's name, or its place in the run as the step lines have it (then `step_name` says which it is).
    step_id: str | int | None = None


@dataclass(frozen=True, kw_only=True)
class AgentLog(Identifiers):
    """A line of an agent's run (`agent_logs`)."""

    message: str
    step_name: str | None = None
    level: Literal["debug", "info", "warn", "error"] = "error"
    agent: str | None = None
    model: str | None = None
    tokens: int | None = None
    error: BaseException | str | None = None
    payload: Json = None


@dataclass(frozen=True, kw_only=True)
class WorkflowFailure(Identifiers):
    """A durable record of a workflow's error (`workflow_failures`); open until its run succeeds or is discarded."""

    message: str
    step_name: str | None = None
    workflow: str | None = None
    retry_attempt: int | None = None
    error: BaseException | str | None = None
    payload: Json = None


@dataclass(frozen=True)
class Actor:
    id: str
    type: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class Target:
    id: str
    type: str | None = None


@dataclass(frozen=True, kw_only=True)
class AuditEvent(Identifiers):
    """Who did what to what (`audit_logs`)."""

    action: str
    #: The sender's own: whatever comes under it again is the same event. The server gives one without.
    id: str | None = None
    actor: Actor | None = None
    target: Target | None = None
    platform: str | None = None
    surface: str | None = None
    lane: str | None = None
    policy_snapshot_id: str | None = None
    payload_hash: str | None = None
    summary: str | None = None
    result: Literal["success", "fail", "blocked"] | None = None
    #: A code, not prose.
    reason: str | None = None
    before: Json = None
    after: Json = None
    payload: Json = None
    #: URLs, or "sha256:<hex>" of an attachment; evidence is what a decision rests on.
    proof: Sequence[str] | None = None
    evidence: Sequence[str] | None = None
    at: datetime | None = None


class Recorder:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._lock = threading.Lock()
        self._batchers: dict[str, Batcher] = {}

    def record(self, collection: Collection, record: Mapping[str, Json]) -> Future[str]:
        """`record` has the server's field names. The future is the record's id, once it is durable."""
        item = json_bytes(record, collection)
        return mapped(self._batcher(collection).add(item), lambda answer: str(answer["id"]))

    def agent_log(self, log: AgentLog) -> Future[str]:
        return self.record("agent_logs", _members(log))

    def workflow_failure(self, failure: WorkflowFailure) -> Future[str]:
        return self.record("workflow_failures", _members(failure))

    def audit_event(self, event: AuditEvent) -> Future[str]:
        members = _members(event)
        actor = members.pop("actor", None) or Actor("")
        target = members.pop("target", None) or Target("")
        members |= {"actor_id": actor.id or None, "actor_type": actor.type, "role": actor.role}
        members |= {"target_id": target.id or None, "target_type": target.type}
        members["payload_summary"] = members.pop("summary", None)
        members["at"] = rfc3339_of(event.at)
        return self.record("audit_logs", without_none(members))

    def drained(self) -> None:
        for batcher in self._all():
            batcher.drained()

    def close(self) -> None:
        for batcher in self._all():
            batcher.close()

    def _all(self) -> list[Batcher]:
        with self._lock:
            return list(self._batchers.values())

    def _batcher(self, collection: str) -> Batcher:
        """One each, so that records of one kind keep the order in which they were written."""
        with self._lock:
            batcher = self._batchers.get(collection)
            if batcher is None:

                def send(items: Sequence[bytes]) -> Sequence[Answer]:
                    body = b'{"records":[' + b",".join(items) + b"]}"
                    results: Sequence[Answer] = self._caller.post(f"/api/v1/{collection}", body)["results"]
                    return results

                batcher = self._batchers[collection] = Batcher(collection, send, item_error, Limits())
            return batcher


def _members(record: Identifiers) -> dict[str, Any]:
    members = {field.name: getattr(record, field.name) for field in fields(record)}
    trace_id, span_id = active_ids()
    members["correlation_id"] = record.correlation_id or carried_now().correlation_id
    if record.trace_id is None:
        members |= {"trace_id": trace_id, "span_id": record.span_id or span_id}
    members["step_id"] = None if record.step_id is None else str(record.step_id)
    if members.get("error") is not None:
        members["error"] = error_text(members["error"])
    return without_none(members)
