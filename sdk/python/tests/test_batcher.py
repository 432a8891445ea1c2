from __future__ import annotations

import threading
import unittest
from collections.abc import Sequence

from fettle import InvalidValueError, ProblemError, QueueFullError
from fettle.batcher import Answer, Batcher, Limits
from fettle.call import item_error

WAIT_S = 10


class BatcherTest(unittest.TestCase):
    def setUp(self) -> None:
        self.sent: list[list[bytes]] = []
        self.under_way = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def send(self, items: Sequence[bytes]) -> Sequence[Answer]:
        self.sent.append(list(items))
        self.under_way.release()
        self.gate.wait(WAIT_S)
        if b"poison" in items:
            raise ProblemError(422, {"title": "refused as a whole"})
        return [{"ok": item != b"bad", "item": item} for item in items]

    def batcher(self, **limits: int) -> Batcher:
        batcher = Batcher("test", self.send, item_error, Limits(**limits))
        self.addCleanup(batcher.close)
        return batcher

    def test_what_comes_while_a_request_is_under_way_leaves_with_the_next_in_order(self) -> None:
        batcher = self.batcher()
        self.gate.clear()
        futures = [batcher.add(b"0")]
        self.under_way.acquire(timeout=WAIT_S)
        futures += [batcher.add(str(at).encode()) for at in range(1, 50)]
        self.gate.set()
        self.assertEqual([future.result(WAIT_S)["item"] for future in futures], [str(at).encode() for at in range(50)])
        self.assertEqual([len(batch) for batch in self.sent], [1, 49])

    def test_a_request_is_bounded_by_items_and_by_bytes(self) -> None:
        batcher = self.batcher(items_max=3, bytes_max=10)
        self.gate.clear()
        batcher.add(b"first")
        self.under_way.acquire(timeout=WAIT_S)
        for item in (b"1", b"2", b"3", b"4", b"5555555555", b"6"):
            batcher.add(item)
        self.gate.set()
        batcher.drained()
        self.assertEqual(self.sent[1:], [[b"1", b"2", b"3"], [b"4"], [b"5555555555"], [b"6"]])
        with self.assertRaises(InvalidValueError):
            batcher.add(b"12345678901")

    def test_a_full_queue_refuses_and_takes_again_once_there_is_room(self) -> None:
        batcher = self.batcher(queue_items_max=2, queue_bytes_max=6)
        self.gate.clear()
        batcher.add(b"0")
        self.under_way.acquire(timeout=WAIT_S)
        batcher.add(b"1111")
        with self.assertRaises(QueueFullError):
            batcher.add(b"333")
        batcher.add(b"22")
        with self.assertRaises(QueueFullError):
            batcher.add(b"")
        self.gate.set()
        batcher.drained()
        batcher.add(b"666666").result(WAIT_S)

    def test_each_caller_gets_the_answer_of_its_own_item(self) -> None:
        batcher = self.batcher()
        good, bad = batcher.add(b"good"), batcher.add(b"bad")
        self.assertEqual(good.result(WAIT_S)["item"], b"good")
        self.assertIsInstance(bad.exception(WAIT_S), ProblemError)

    def test_one_item_that_spoils_its_request_does_not_take_its_neighbours_along(self) -> None:
        batcher = self.batcher()
        self.gate.clear()
        batcher.add(b"0")
        self.under_way.acquire(timeout=WAIT_S)
        futures = [batcher.add(item) for item in (b"1", b"2", b"poison", b"4", b"5")]
        self.gate.set()
        failed = [future.exception(WAIT_S) is not None for future in futures]
        self.assertEqual(failed, [False, False, True, False, False])

    def test_closing_sends_what_waits(self) -> None:
        batcher = self.batcher()
        future = batcher.add(b"1")
        batcher.close()
        self.assertTrue(future.done())
