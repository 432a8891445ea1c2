"""What a worker tells the server about its runs: what gathers while a request is under way leaves with the next.

One request at a time, so a run's reports arrive in the order in which they were made. A report whose run's lease is
gone comes back as late; the server keeps it and applies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from .batcher import Answer, Batcher, Limits
from .call import Caller, item_error
from .errors import late_reason
from .jsontext import Json, json_bytes


class Reporter:
    def __init__(self, caller: Caller, runner_id: str) -> None:
        self._caller = caller
        self._prefix = b'{"runner_id":' + json_bytes(runner_id, "runner id") + b',"reports":['
        limits = Limits(queue_items_max=100_000, queue_bytes_max=256 * 1024 * 1024)
        self._batcher = Batcher("reports", self._send, _report_error, limits)

    @property
    def pending(self) -> int:
        return self._batcher.pending

    def report(self, op: str, run_id: str, fence: int | str, members: dict[str, Json]) -> Future[Answer]:
        """Fails with LeaseLostError, StoppedError or CancelledError when it comes too late. Raises InvalidValueError
        when `members` is not JSON."""
        report = {"op": op, "run_id": run_id, "fence": fence, **members}
        return self._batcher.add(json_bytes(report, f"{op} of {run_id}"))

    def drained(self) -> None:
        self._batcher.drained()

    def close(self) -> None:
        self._batcher.close()

    def _send(self, items: Sequence[bytes]) -> Sequence[Answer]:
        answer = self._caller.post("/api/v1/work/report", self._prefix + b",".join(items) + b"]}")
        results: Sequence[Answer] = answer["results"]
        return results


def _report_error(answer: Answer) -> Exception | None:
    if not answer.get("ok") and answer["error"].get("code") == "late":
        return late_reason(answer["error"])
    return item_error(answer)
