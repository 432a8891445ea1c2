"""The SDK in a program that has OpenTelemetry: trace context and baggage travel through its API, spans are made.

A stand-in with the few calls that the SDK makes takes its place here.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import sys
import types
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from fettle import trace

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
_active: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("active", default={})


class Span:
    def __init__(self, name: str, kind: str, attributes: dict[str, Any], parent: str) -> None:
        self.name, self.kind, self.attributes, self.parent = name, kind, dict(attributes), parent
        self.is_valid = name != "none"
        self.trace_id, self.span_id = int(TRACE_ID, 16), 0xB7AD6B7169203331

    def get_span_context(self) -> Span:
        return self

    def set_attribute(self, name: str, value: Any) -> None:
        self.attributes[name] = value


class Tracer:
    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans

    @contextlib.contextmanager
    def start_as_current_span(self, name: str, kind: str, attributes: dict[str, Any]) -> Iterator[Span]:
        span = Span(name, kind, attributes, _active.get().get("traceparent", ""))
        self.spans.append(span)
        token = _active.set({**_active.get(), "span": span})
        try:
            yield span
        finally:
            _active.reset(token)


def stand_in(spans: list[Span]) -> dict[str, types.ModuleType]:
    def inject(carrier: dict[str, str]) -> None:
        if _active.get().get("traceparent"):
            carrier["traceparent"] = _active.get()["traceparent"]

    modules = {
        "propagate": types.SimpleNamespace(
            inject=inject, extract=lambda carrier, context: {"traceparent": carrier.get("traceparent", "")}
        ),
        "baggage": types.SimpleNamespace(
            get_baggage=lambda name: _active.get().get(name),
            set_baggage=lambda name, value, context: {**context, name: value},
        ),
        "context": types.SimpleNamespace(Context=dict, attach=_active.set, detach=_active.reset),
        "trace": types.SimpleNamespace(
            SpanKind=types.SimpleNamespace(CONSUMER="consumer", INTERNAL="internal"),
            get_tracer=lambda name: Tracer(spans),
            get_current_span=lambda: _active.get().get("span", Span("none", "", {}, "")),
            format_trace_id=lambda value: f"{value:032x}",
            format_span_id=lambda value: f"{value:016x}",
        ),
    }
    package = types.ModuleType("opentelemetry")
    for name, module in modules.items():
        setattr(package, name, module)
    return {"opentelemetry": package}


class OpenTelemetryTest(unittest.TestCase):
    def setUp(self) -> None:
        self.spans: list[Span] = []
        # A copy of the module, so that the one that everything else uses stays as it is.
        spec = importlib.util.spec_from_file_location("fettle.trace_with_opentelemetry", trace.__file__)
        self.trace = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, {spec.name: self.trace, **stand_in(self.spans)}):
            spec.loader.exec_module(self.trace)

    def test_the_carried_context_is_the_parent_and_goes_on_with_its_correlation_id(self) -> None:
        carried = self.trace.Carried(f"00-{TRACE_ID}-b7ad6b7169203331-01", None, None, "c_1")
        with self.trace.carrying(carried), self.trace.spanned("run lead", "consumer", {"run_id": "r", "lane": None}):
            now = self.trace.carried_now()
            ids = self.trace.active_ids()
        (span,) = self.spans
        self.assertEqual((span.name, span.kind, span.parent), ("run lead", "consumer", carried.traceparent))
        self.assertEqual(span.attributes, {"run_id": "r"})
        self.assertEqual((now.traceparent, now.correlation_id), (carried.traceparent, "c_1"))
        self.assertEqual(ids, (TRACE_ID, "b7ad6b7169203331"))

    def test_a_failure_names_its_type_on_the_span(self) -> None:
        with self.assertRaises(KeyError):
            with self.trace.spanned("step one", "internal", {}):
                raise KeyError("no")
        self.assertEqual(self.spans[0].attributes, {"error.type": "KeyError"})

    def test_what_was_carried_is_handed_on_where_nothing_is_active(self) -> None:
        carried = self.trace.Carried(None, None, "k=v", "c_1")
        with self.trace.carrying(carried):
            self.assertEqual(self.trace.carried_now(), carried)
