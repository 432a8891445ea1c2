""""May I?", asked before each side effect by executors that Fettle does not run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

from .call import Caller
from .errors import ProblemError, UnreachableError, retryable_status
from .jsontext import without_none
from .retry import NO_RETRY

V = TypeVar("V")
Rule = Literal["allow", "refuse"]

_QUESTIONS_MAX = 1000
_CLASSES_MAX = 100
TIMEOUT_MS = 2_000


@dataclass(frozen=True)
class Question:
    client_id: str | None = None
    platform: str | None = None
    lane: str | None = None
    workflow: str | None = None
    tool: str | None = None
    agent: str | None = None
    action_class: str | None = None


@dataclass(frozen=True)
class Verdict:
    allowed: bool
    reason: str | None
    switch: Mapping[str, Any] | None
    #: Where it comes from; `unreachable` is the rule of the action's class, applied while the server is away.
    source: Literal["server", "cache", "unreachable"]

    def __bool__(self) -> bool:
        return self.allowed


class MayI:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Mapping[str, Any], float]] = {}  # answer and until when
        self._asking: dict[str, Future[Mapping[str, Any]]] = {}
        self._rules: dict[str, Rule] = {}  # by action class

    def ask(self, question: Question, on_unreachable: Rule | None, timeout_ms: float) -> Verdict:
        """Does not fail for an absent server; fails when the question itself is refused (401, 403, 400)."""
        query = urlencode(without_none(vars(question)))
        with self._lock:
            known = self._known.get(query)
            if known is not None and self._caller.clock.now_ms() < known[1]:
                return _verdict(known[0], "cache")
            asking = self._asking.get(query)
            mine = asking is None
            if asking is None:
                asking = self._asking[query] = Future()
        if mine:  # those who ask the same at the same time share the request
            self._fetch(query, timeout_ms, asking)
        action_class = question.action_class or ""
        try:
            answer = asking.result()
        except (UnreachableError, ProblemError) as error:
            if isinstance(error, ProblemError) and not retryable_status(error.status):
                raise
            with self._lock:
                rule = self._rules.get(action_class) or on_unreachable or "refuse"
            return Verdict(
                rule == "allow",
                f"Fettle does not answer; the rule of {action_class!r} is to {rule}",
                None,
                "unreachable",
            )
        with self._lock:
            _put(self._rules, action_class, answer["on_unreachable"], _CLASSES_MAX)
        return _verdict(answer, "server")

    def _fetch(self, query: str, timeout_ms: float, asking: Future[Mapping[str, Any]]) -> None:
        sent_ms = self._caller.clock.now_ms()  # a verdict's age counts from here
        try:
            answer = self._caller.get(
                f"/api/v1/may-i?{query}" if query else "/api/v1/may-i", timeout_ms=timeout_ms, retry=NO_RETRY
            )
            with self._lock:
                _put(self._known, query, (answer, sent_ms + answer["cache_ms"]), _QUESTIONS_MAX)
            asking.set_result(answer)
        except Exception as error:
            asking.set_exception(error)
        finally:
            with self._lock:
                del self._asking[query]


def _put(known: dict[str, V], key: str, value: V, entries_max: int) -> None:
    """The oldest entry makes room."""
    if key in known:
        del known[key]
    known[key] = value
    if len(known) > entries_max:
        del known[next(iter(known))]


def _verdict(answer: Mapping[str, Any], source: Literal["server", "cache"]) -> Verdict:
    return Verdict(bool(answer["allowed"]), answer.get("reason"), answer.get("switch"), source)
