"""Every way in which this SDK fails, and what a failure of somebody else's code means for a retry."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any


class FettleError(Exception):
    """The root of all errors of the SDK. `code` is stable; messages are for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ProblemError(FettleError):
    """The server answered with a problem document (RFC 9457), whose members are in `problem`."""

    def __init__(
        self, status: int, problem: Mapping[str, Any], request_id: str = "", retry_after_ms: float | None = None
    ) -> None:
        title = problem.get("detail") or problem.get("title") or f"the server answered {status}"
        super().__init__(str(problem.get("code") or f"http_{status}"), str(title))
        self.status = status
        self.problem = problem
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or "")
        self.request_id = request_id or str(problem.get("request_id") or "")
        self.retry_after_ms = retry_after_ms


class UnreachableError(FettleError):
    """No answer: refused, reset, timed out, or not HTTP. Whether the request took effect is unknown."""

    def __init__(self, message: str) -> None:
        super().__init__("unreachable", message)


class QueueFullError(FettleError):
    """A queue inside the SDK is full. Nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__("queue_full", message)


class InvalidValueError(FettleError, ValueError):
    """The value could not become JSON, or is too large for the server's limit. Nothing was sent."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_value", message)


class RetryableError(FettleError):
    """Raise it from a handler or step: the failure may pass, try again (not before `retry_after_ms`)."""

    def __init__(self, message: str, *, code: str = "retryable", retry_after_ms: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after_ms = retry_after_ms


class FatalError(FettleError):
    """Raise it from a handler or step: trying again cannot help; the run goes to the dead letters at once."""

    def __init__(self, message: str, *, code: str = "fatal") -> None:
        super().__init__(code, message)


class StopError(FettleError):
    """Why a run must stop. A handler that raises it (Run.check does) has behaved well."""


class LeaseLostError(StopError):
    def __init__(self, message: str = "the lease is lost: another worker may have the run") -> None:
        super().__init__("lease_lost", message)


class CancelledError(StopError):
    def __init__(self, message: str = "the run was cancelled") -> None:
        super().__init__("cancelled", message)


class StoppedError(StopError):
    """A kill switch; its members, as far as they were told, are in `switch`."""

    def __init__(self, switch: Mapping[str, Any]) -> None:
        super().__init__("stopped", f"stopped by a switch: {switch.get('reason') or 'no reason told'}")
        self.switch = switch


class ShutdownError(StopError):
    def __init__(self, message: str = "the worker is shutting down") -> None:
        super().__init__("shutdown", message)


class RefusedError(FettleError):
    """A kill switch, a policy or a plan forbids the side effect. It was not performed."""

    def __init__(self, message: str, details: Mapping[str, Any]) -> None:
        super().__init__("refused", message)
        self.details = details


class EffectUnknownError(FettleError):
    """Whether the side effect is visible to the world is unknown, and it was not tried again. A person sees it
    listed."""

    def __init__(self, side_effect_id: str, message: str) -> None:
        super().__init__("effect_unknown", message)
        self.side_effect_id = side_effect_id


class NotPerformedError(FettleError):
    """Raise it from `perform` when it is certain that nothing became visible: the reservation is released."""

    def __init__(self, message: str) -> None:
        super().__init__("not_performed", message)


_RETRYABLE_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504, 529))
_RETRYABLE_CODES = frozenset(("API_TIMEOUT", "RATE_LIMITED", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT"))
_SAID_TO_PASS = (RetryableError, UnreachableError, QueueFullError, ConnectionError, TimeoutError)
_SAID_TO_STAY = (FatalError, InvalidValueError, RefusedError, CancelledError)
# A mistake in the program, or input that no repetition makes valid.
_MISTAKES = (TypeError, ValueError, LookupError, AttributeError, NameError, AssertionError, NotImplementedError)


def retryable_status(status: int) -> bool:
    return status in _RETRYABLE_STATUS


def is_retryable(error: BaseException) -> bool:
    """Retry or not: said by the error's class, else by its HTTP status, its code, or its cause.

    What says nothing is retried: a run that is tried in vain costs less than one that is given up in vain.
    """
    if isinstance(error, _SAID_TO_PASS):
        return True
    if isinstance(error, _SAID_TO_STAY):
        return False
    own = getattr(error, "retryable", None)
    if isinstance(own, bool):
        return own
    status = _status_of(error)
    if status is not None and status >= 400:
        return retryable_status(status)
    if getattr(error, "code", None) in _RETRYABLE_CODES:
        return True
    if isinstance(error, _MISTAKES):
        return error.__cause__ is not None and is_retryable(error.__cause__)
    return True


def _status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of a common HTTP client (urllib, requests, httpx, aiohttp) carries, if it does."""
    response = getattr(error, "response", None)
    for holder in (error, response):
        for name in ("status", "status_code", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return int(value)
    return None


def retry_after_of(error: BaseException, wall_ms: float) -> float | None:
    """How long the other side asked us to wait: our own member, or a Retry-After header of an HTTP client's error."""
    own = getattr(error, "retry_after_ms", None)
    if isinstance(own, (int, float)):
        return float(own)
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None)
    get = getattr(headers, "get", None)
    if get is None:
        return None
    in_ms = get("retry-after-ms")
    if isinstance(in_ms, str) and in_ms.isdecimal():
        return float(in_ms)
    return parse_retry_after(get("retry-after"), wall_ms)


def parse_retry_after(value: object, wall_ms: float) -> float | None:
    """Retry-After as delay-seconds or as a date (RFC 9110, 10.2.3). A past date is 0; nonsense is as if absent."""
    text = str(value).strip() if isinstance(value, (str, int)) else ""
    if text.isdecimal():
        return float(text) * 1000
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() * 1000 - wall_ms)
    except (ValueError, TypeError, IndexError):
        return None


_STACK_CHARACTERS_MAX = 8192
_MESSAGE_CHARACTERS_MAX = 4096


def error_object(error: BaseException, wall_ms: float) -> dict[str, Any]:
    """An error as the server stores it; causes are in the stack, as people read them in a log."""
    made: dict[str, Any] = {"type": type(error).__name__, "message": str(error)[:_MESSAGE_CHARACTERS_MAX]}
    code = getattr(error, "code", None)
    if isinstance(code, (str, int)) and not isinstance(code, bool):
        made["code"] = str(code)
    made["stack"] = "".join(traceback.format_exception(error))[-_STACK_CHARACTERS_MAX:]
    status = _status_of(error)
    if status is not None:
        made["status"] = status
    made["retryable"] = is_retryable(error)
    retry_after_ms = retry_after_of(error, wall_ms)
    if retry_after_ms is not None:
        made["retry_after_ms"] = round(retry_after_ms)
    return made


def error_text(error: object) -> str:
    """ "API_TIMEOUT: Connection timeout after 5s": the code in front, unless the message already begins with it."""
    message = str(error)
    code = getattr(error, "code", None)
    if not isinstance(code, str) or message.startswith(f"{code}:"):
        return message or type(error).__name__
    return f"{code}: {message}"


def late_reason(problem: Mapping[str, Any]) -> StopError:
    """Why the lease is gone, as far as the server told."""
    if isinstance(problem.get("stop"), Mapping):
        return StoppedError(problem["stop"])
    if problem.get("cancel") is True:
        return CancelledError()
    return LeaseLostError(f"the lease is lost: {problem.get('detail') or 'another worker may have the run'}")
