"""Trace context, baggage and correlation id across the queue.

Through OpenTelemetry when the program has it; else as text: what a run came with is active in its handler, goes with
the runs that it enqueues, and names the trace of its records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

try:
    from opentelemetry import baggage, context, propagate, trace

    _HAS_OPENTELEMETRY = True
except ImportError:
    _HAS_OPENTELEMETRY = False

CORRELATION = "correlation_id"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


@dataclass(frozen=True)
class Carried:
    """What travels beside a payload, under the names of its headers."""

    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None
    correlation_id: str | None = None

    def headers(self) -> dict[str, str]:
        """For an HTTP call to somebody else; the correlation id is in the baggage."""
        carrier = {name: value for name, value in asdict(self).items() if value and name != CORRELATION}
        if self.correlation_id and f"{CORRELATION}=" not in carrier.get("baggage", ""):
            entry = f"{CORRELATION}={_percent(self.correlation_id)}"
            carrier["baggage"] = f"{carrier['baggage']},{entry}" if "baggage" in carrier else entry
        return carrier


_current: ContextVar[Carried] = ContextVar("fettle_carried", default=Carried())


def carried_now() -> Carried:
    """The context of the caller, for an envelope."""
    outer = _current.get()
    if not _HAS_OPENTELEMETRY:
        return outer
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    if "traceparent" not in carrier and "baggage" not in carrier:
        return outer  # no propagator, or nothing active: handed on unchanged
    found = baggage.get_baggage(CORRELATION)
    return Carried(
        carrier.get("traceparent"),
        carrier.get("tracestate"),
        carrier.get("baggage"),
        str(found) if found is not None else outer.correlation_id,
    )


@contextmanager
def carrying(carried: Carried) -> Iterator[None]:
    """Makes a context that came from elsewhere (a header, an envelope) the active one."""
    if carried.correlation_id is None and carried.baggage:
        carried = replace(carried, correlation_id=_baggage_entry(carried.baggage, CORRELATION))
    token = _current.set(carried)
    attached: Any = None
    try:
        if _HAS_OPENTELEMETRY:
            carrier = {name: value for name, value in asdict(carried).items() if value}
            restored = propagate.extract(carrier, context=context.Context())
            if carried.correlation_id is not None:
                restored = baggage.set_baggage(CORRELATION, carried.correlation_id, restored)
            attached = context.attach(restored)
        yield
    finally:
        if attached is not None:
            context.detach(attached)
        _current.reset(token)


@contextmanager
def spanned(name: str, kind: str, attributes: Mapping[str, str | int | None]) -> Iterator[None]:
    """A span below the active one, where there is OpenTelemetry; an exception ends it as failed."""
    if not _HAS_OPENTELEMETRY:
        yield
        return
    known = {key: value for key, value in attributes.items() if value is not None}
    span_kind = trace.SpanKind.CONSUMER if kind == "consumer" else trace.SpanKind.INTERNAL
    # A suspension is no failure: it derives from BaseException, which start_as_current_span lets pass.
    with trace.get_tracer("fettle").start_as_current_span(name, kind=span_kind, attributes=known) as span:
        try:
            yield
        except Exception as error:
            code = getattr(error, "code", None)
            span.set_attribute("error.type", code if isinstance(code, str) else type(error).__name__)
            raise


def active_ids() -> tuple[str | None, str | None]:
    """Trace id and span id of the active span, or of the one that the run came with, for records."""
    if _HAS_OPENTELEMETRY:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            return trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)
    known = _TRACEPARENT.fullmatch(_current.get().traceparent or "")
    return (known[1], known[2]) if known else (None, None)


def _baggage_entry(header: str, name: str) -> str | None:
    for entry in header.split(","):
        key, _, value = entry.partition(";")[0].partition("=")
        if key.strip() == name:
            return unquote(value.strip())
    return None


def _percent(value: str) -> str:
    return quote(value, safe="!#$&'()*+-./:<=>?@[]^_`{|}~")
