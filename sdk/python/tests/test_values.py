"""Errors, retries and JSON, without a server."""

from __future__ import annotations

import threading
import unittest
import urllib.error
from email.message import Message

from fettle import (
    FatalError,
    InvalidValueError,
    RetryableError,
    RetryPolicy,
    error_object,
    full_jitter_ms,
    is_retryable,
)
from fettle import payload_hash, retrying
from fettle.errors import error_text, parse_retry_after, retry_after_of
from fettle.jsontext import canonical_json, json_bytes

from .manual_clock import ManualClock


def http_error(status: int, **headers: str) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("https://x.example", status, "no", message, None)


class ErrorsTest(unittest.TestCase):
    def test_a_retry_follows_from_the_class_the_status_the_code_or_the_cause(self) -> None:
        caused = ValueError("the answer was no JSON")
        caused.__cause__ = ConnectionResetError()
        for error, expected in (
            (RetryableError("x"), True),
            (FatalError("x"), False),
            (InvalidValueError("x"), False),
            (http_error(429), True),
            (http_error(503), True),
            (http_error(404), False),
            (TimeoutError(), True),
            (ConnectionRefusedError(), True),
            (KeyError("a"), False),
            (TypeError(), False),
            (caused, True),
            (RuntimeError("says nothing"), True),
        ):
            self.assertIs(is_retryable(error), expected, repr(error))

    def test_a_retry_after_is_read_as_seconds_as_a_date_and_from_headers(self) -> None:
        at_ms = 1_700_000_000_000
        self.assertEqual(parse_retry_after("7", at_ms), 7000)
        self.assertEqual(parse_retry_after("Tue, 14 Nov 2023 22:13:30 GMT", at_ms), 10_000)
        self.assertEqual(parse_retry_after("Tue, 14 Nov 2000 22:13:30 GMT", at_ms), 0)
        self.assertIsNone(parse_retry_after("soon", at_ms))
        self.assertEqual(retry_after_of(http_error(429, Retry_After="3"), at_ms), 3000)
        self.assertEqual(retry_after_of(RetryableError("x", retry_after_ms=5), at_ms), 5)

    def test_an_error_is_stored_with_code_stack_cause_and_hint(self) -> None:
        try:
            try:
                raise OSError("the cause")
            except OSError as cause:
                raise RetryableError("API_TIMEOUT: no", code="API_TIMEOUT", retry_after_ms=9) from cause
        except RetryableError as error:
            made = error_object(error, 0)
        self.assertEqual(
            {name: made[name] for name in ("type", "message", "code", "retryable", "retry_after_ms")},
            {
                "type": "RetryableError",
                "message": "API_TIMEOUT: no",
                "code": "API_TIMEOUT",
                "retryable": True,
                "retry_after_ms": 9,
            },
        )
        self.assertIn("the cause", made["stack"])
        self.assertEqual(error_object(http_error(503), 0)["status"], 503)

    def test_the_code_stands_before_the_message_once(self) -> None:
        self.assertEqual(error_text(RetryableError("API_TIMEOUT: no", code="API_TIMEOUT")), "API_TIMEOUT: no")
        self.assertEqual(error_text(RetryableError("no", code="API_TIMEOUT")), "API_TIMEOUT: no")


class RetryTest(unittest.TestCase):
    def test_waits_are_jittered_up_to_a_doubling_bound_that_is_capped(self) -> None:
        policy = RetryPolicy(retries_max=9, base_ms=100, cap_ms=1000)
        bounds = [full_jitter_ms(policy, retry, 1.0) for retry in range(6)]
        self.assertEqual(bounds, [100, 200, 400, 800, 1000, 1000])
        self.assertEqual(full_jitter_ms(policy, 3, 0.5), 400)
        self.assertEqual(full_jitter_ms(policy, 100_000, 1.0), 1000)

    def tries(
        self, policy: RetryPolicy, clock: ManualClock, error: Exception, stop: threading.Event | None = None
    ) -> int:
        count = 0

        def body() -> None:
            nonlocal count
            count += 1
            raise error

        with self.assertRaises(type(error)):
            retrying(clock, policy, body, stop=stop)
        return count

    def test_it_ends_with_the_tries_the_time_the_error_or_the_stop(self) -> None:
        self.assertEqual(self.tries(RetryPolicy(3), ManualClock(), OSError()), 4)
        self.assertEqual(self.tries(RetryPolicy(99, base_ms=100, elapsed_max_ms=1000), ManualClock(), OSError()), 4)
        self.assertEqual(self.tries(RetryPolicy(3), ManualClock(), TypeError()), 1)
        stop = threading.Event()
        stop.set()
        self.assertEqual(self.tries(RetryPolicy(3), ManualClock(), OSError(), stop), 1)

    def test_the_other_sides_wish_goes_before_the_jitter(self) -> None:
        clock = ManualClock()
        self.tries(RetryPolicy(1), clock, RetryableError("x", retry_after_ms=2500))
        self.assertEqual(clock.waits, [2500])


class JsonTest(unittest.TestCase):
    def test_what_json_cannot_say_is_refused(self) -> None:
        cycle: list[object] = []
        cycle.append(cycle)
        for value in (float("nan"), object(), {1, 2}, cycle, "\ud800", b"bytes"):
            with self.assertRaises(InvalidValueError):
                json_bytes(value, "x")

    def test_canonical_json_is_that_of_rfc_8785(self) -> None:
        numbers = [
            333333333.33333329,
            1e30,
            4.50,
            2e-3,
            0.000000000000000000000000001,
            -0.0,
            1e21,
            1e20,
            1e-6,
            1e-7,
            12.0,
        ]
        expected = "[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1e+21,100000000000000000000,0.000001,1e-7,12]"
        self.assertEqual(canonical_json(numbers), expected)
        names = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
        self.assertEqual(
            canonical_json(names), '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'
        )

    def test_the_order_of_members_is_no_difference_to_the_hash(self) -> None:
        self.assertEqual(payload_hash({"a": 1, "b": [True, None]}), payload_hash({"b": [True, None], "a": 1.0}))
        # As the TypeScript SDK has it.
        self.assertEqual(
            payload_hash({"text": "hello"}), "cbbbdcd27692344de5dbab3abcaba413fb0f45307267de7081401576df1cb176"
        )
