"""The two log lines that a worker writes about each step, through a logger of the standard library.

Give the logger's handler a StepFormatter, and a line holds the fields below, in this order, and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from .errors import error_text

_FIELDS = "fettle_fields"


class StepFormatter(logging.Formatter):
    """One line of JSON: the level as a word, then the fields; of any other record its message, as "msg"."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, _FIELDS, None)
        if fields is None:
            fields = {"msg": record.getMessage()}
            if record.exc_info:
                fields["error"] = self.formatException(record.exc_info)
        return json.dumps({"level": record.levelname.lower(), **fields}, ensure_ascii=False, separators=(",", ":"))


class StepLog:
    """What a worker knows about its step lines."""

    def __init__(self, logger: logging.Logger, request_id: str, run_id: str) -> None:
        self._logger = logger
        self._head = {"requestId": request_id, "runId": run_id}

    def completed(self, step_id: int, name: str, duration_ms: float, tokens: int, cost_usd: float) -> None:
        """{"level":"info","requestId",…,"duration","tokens","costUsd","action":"step_completed"}"""
        used = {"tokens": tokens, "costUsd": cost_usd}
        self._write(logging.INFO, step_id, name, duration_ms, used, "step_completed")

    def failed(self, step_id: int, name: str, duration_ms: float, retry_count: int, error: BaseException) -> None:
        """{"level":"error","requestId",…,"duration","retryCount","error","action":"step_failed"}"""
        outcome = {"retryCount": retry_count, "error": error_text(error)}
        self._write(logging.ERROR, step_id, name, duration_ms, outcome, "step_failed")

    def _write(
        self, level: int, step_id: int, name: str, duration_ms: float, members: Mapping[str, object], action: str
    ) -> None:
        step: dict[str, object] = {"stepId": step_id, "stepName": name, "duration": round(duration_ms)}
        fields: dict[str, object] = {**self._head, **step, **members, "action": action}
        self._logger.log(level, "%s %s", action, name, extra={_FIELDS: fields})
