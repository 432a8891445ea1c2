"""Folds calls made close together into one request.

A thread sends what has gathered as soon as there is something; what comes while its request is under way leaves with
the next. So an idle client adds no delay, and a busy one sends few large requests. With one thread, order is kept.

A batch is bounded by items and bytes, and so is the queue before it: past that, add() is refused. Every caller gets the
result or the exception of its own item.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from .errors import FettleError, InvalidValueError, ProblemError, QueueFullError

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    items_max: int = 1000
    bytes_max: int = 4 * 1024 * 1024  # the server takes 8 MiB
    queue_items_max: int = 10_000
    queue_bytes_max: int = 64 * 1024 * 1024
    in_flight_max: int = 1


@dataclass(frozen=True)
class _Entry:
    item: bytes
    future: Future[Answer]


class Batcher:
    """`send` gets items, each JSON text, and answers with one answer per item, in their order; `error_of` gives the
    exception of an answer, when it is one."""

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[bytes]], Sequence[Answer]],
        error_of: Callable[[Answer], Exception | None],
        limits: Limits,
    ) -> None:
        self._name = name
        self._send = send
        self._error_of = error_of
        self._limits = limits
        self._lock = threading.Lock()
        self._added = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._queue: deque[_Entry] = deque()
        self._queue_bytes = 0
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    @property
    def pending(self) -> int:
        """Items that wait or are under way."""
        return len(self._queue) + self._under_way

    def add(self, item: bytes) -> Future[Answer]:
        limits = self._limits
        if len(item) > limits.bytes_max:
            raise InvalidValueError(f"{self._name}: {len(item)} bytes, at most {limits.bytes_max} fit")
        entry = _Entry(item, Future())
        with self._lock:
            if self._closed:
                raise FettleError("closed", f"{self._name}: the client is closed")
            if len(self._queue) >= limits.queue_items_max or self._queue_bytes + len(item) > limits.queue_bytes_max:
                held = f"{len(self._queue)} items and {self._queue_bytes} bytes wait"
                raise QueueFullError(f"{self._name}: the queue is full: {held}")
            self._queue.append(entry)
            self._queue_bytes += len(item)
            if len(self._threads) < limits.in_flight_max and len(self._queue) > len(self._threads):
                self._start_thread()
            self._added.notify()
        return entry.future

    def drained(self) -> None:
        """Returns when nothing waits and nothing is under way."""
        with self._lock:
            self._idle.wait_for(lambda: self.pending == 0)

    def close(self) -> None:
        """Sends what waits, then ends."""
        with self._lock:
            self._closed = True
            self._added.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    def _start_thread(self) -> None:
        # A daemon: a program that forgets to close the client still ends.
        thread = threading.Thread(target=self._run, name=f"fettle-{self._name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._added.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                batch = self._take()
                self._under_way += len(batch)
            try:
                self._deliver(batch)
            finally:
                with self._lock:
                    self._under_way -= len(batch)
                    if self.pending == 0:
                        self._idle.notify_all()

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        size = 0
        while self._queue and len(batch) < self._limits.items_max:
            item = self._queue[0].item
            if batch and size + len(item) > self._limits.bytes_max:
                break
            size += len(item) + 1
            batch.append(self._queue.popleft())
        self._queue_bytes -= size - len(batch)
        return batch

    def _deliver(self, batch: Sequence[_Entry]) -> None:
        try:
            answers = self._send([entry.item for entry in batch])
        except Exception as error:
            for_its_content = isinstance(error, ProblemError) and error.status in (400, 413, 422)
            if for_its_content and len(batch) > 1:
                # One bad item does not take its neighbours along.
                half = len(batch) // 2
                self._deliver(batch[:half])
                self._deliver(batch[half:])
                return
            for entry in batch:
                entry.future.set_exception(error)
            return
        for at, entry in enumerate(batch):
            refused: Exception | None
            if at >= len(answers):
                refused = InvalidValueError(f"{self._name}: the server answered {len(answers)} of {len(batch)}")
            else:
                refused = self._error_of(answers[at])
            if refused is not None:
                entry.future.set_exception(refused)
            else:
                entry.future.set_result(answers[at])
