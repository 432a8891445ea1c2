from __future__ import annotations

from collections.abc import Callable

from fettle import (
    EffectUnknownError,
    NotPerformedError,
    Performed,
    RefusedError,
    RetryableError,
    RetryPolicy,
    Seen,
    SideEffect,
)
from fettle.side_effect import SideEffectResult

from .fake_server import Body, Fault
from .manual_clock import ManualClock
from .setup import ServerTest

EFFECT = SideEffect("publish", "page_1", {"text": "hello"}, client_id="acme", summary="a post")


def failing(error: Exception) -> Callable[[], object]:
    def perform() -> object:
        raise error

    return perform


class SideEffectTest(ServerTest):
    def setUp(self) -> None:
        super().setUp()
        self.performed = 0

    def perform(self) -> Performed:
        self.performed += 1
        return Performed({"id": 7}, {"url": "https://x.example/7"})

    def run_effect(
        self, *decisions: Body, perform: Callable[[], object] | None = None, seen: Seen | None = None
    ) -> SideEffectResult:
        self.server.decisions.extend(decisions)
        fettle = self.client(clock=ManualClock(), retry=RetryPolicy(1))
        return fettle.side_effect(EFFECT, perform or self.perform, None if seen is None else lambda: seen)

    def states(self) -> list[str]:
        return [effect["state"] for effect in self.server.effects.values()]

    def test_it_is_reserved_performed_and_committed_with_its_proof(self) -> None:
        result = self.run_effect()
        self.assertEqual((result.result, result.earlier, result.state), ({"id": 7}, False, "committed"))
        effect = self.server.effects["fx_1"]
        self.assertEqual(effect["commit"], {"proof": {"url": "https://x.example/7"}, "result": {"id": 7}})
        reserved = effect["reserve"]
        self.assertEqual((reserved["action"], reserved["payload_summary"]), ("publish", "a post"))
        self.assertNotIn("payload", reserved)
        self.assertEqual(len(reserved["payload_hash"]), 64)

    def test_a_repetition_gets_the_earlier_result_and_performs_nothing(self) -> None:
        self.run_effect()
        again = self.run_effect()
        self.assertEqual((self.performed, again.earlier, again.result), (1, True, {"id": 7}))

    def test_a_refusal_performs_nothing(self) -> None:
        with self.assertRaises(RefusedError):
            self.run_effect({"decision": "refused", "reason": "a switch"})
        self.assertEqual(self.performed, 0)

    def test_one_that_is_under_way_elsewhere_is_tried_later(self) -> None:
        with self.assertRaises(RetryableError):
            self.run_effect({"decision": "in_progress"})

    def test_an_unknown_one_is_verified_before_anything_else(self) -> None:
        result = self.run_effect({"decision": "unknown"}, seen=Seen(True, {"url": "u"}, {"id": 1}))
        self.assertEqual((self.performed, result.earlier, result.result), (0, True, {"id": 1}))
        for seen in (None, Seen(None)):
            with self.assertRaises(EffectUnknownError):
                self.run_effect({"decision": "unknown"}, seen=seen)
        self.assertEqual(self.performed, 0)
        self.run_effect({"decision": "unknown"}, {"decision": "go_on"}, seen=Seen(False))
        self.assertEqual(self.performed, 1)

    def test_what_certainly_did_not_happen_is_released(self) -> None:
        with self.assertRaises(NotPerformedError):
            self.run_effect(perform=failing(NotPerformedError("the form was not there")))
        with self.assertRaises(OSError):
            self.run_effect(perform=failing(OSError("cut")), seen=Seen(False))
        self.assertEqual(self.states(), ["released", "released"])

    def test_a_failure_in_doubt_stays_reserved_unless_it_is_seen(self) -> None:
        with self.assertRaises(EffectUnknownError) as raised:
            self.run_effect(perform=failing(OSError("cut")))
        self.assertEqual((raised.exception.side_effect_id, self.states()), ("fx_1", ["reserved"]))
        result = self.run_effect(perform=failing(OSError("cut")), seen=Seen(True, {"url": "u"}, 5))
        self.assertEqual((result.state, result.result), ("committed", 5))

    def test_performed_but_not_seen_never_counts_as_proven(self) -> None:
        self.run_effect(seen=Seen(False))
        self.assertIs(self.server.effects["fx_1"]["commit"]["proof"]["visible"], False)

    def test_performed_but_not_on_record_is_in_doubt(self) -> None:
        self.server.fail("/side-effects/fx_1/commit", Fault(status=503), Fault(status=503))
        with self.assertRaises(EffectUnknownError):
            self.run_effect()
