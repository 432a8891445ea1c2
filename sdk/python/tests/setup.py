"""A client on a fake server, both ended with the test."""

from __future__ import annotations

import unittest
from typing import Any

from fettle import Fettle, NewRun, Run, RunRetry, Worker

from .fake_server import FakeServer

__all__ = ["NewRun", "Run", "RunRetry", "ServerTest"]


class ServerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.server = FakeServer()
        self.addCleanup(self.server.stop)

    def client(self, **options: Any) -> Fettle:
        fettle = Fettle(self.server.url, **options)
        self.addCleanup(fettle.close)
        return fettle

    def working(self, fettle: Fettle, workflows: dict[str, Any], **options: Any) -> Worker:
        worker = fettle.worker(workflows, **{"on_error": lambda error: None, **options})
        worker.start()
        self.addCleanup(lambda: worker.stop(grace_ms=100))
        return worker
