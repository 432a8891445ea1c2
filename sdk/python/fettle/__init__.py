"""Durable runs, side effects, audit and may-I of Fettle, for Python. See README.md."""

from .approval import ApprovalDecision
from .client import Fettle
from .clock import Clock, SystemClock
from .enqueue import EnqueuedRun, NewRun, RunRetry, Trigger
from .errors import (
    CancelledError,
    EffectUnknownError,
    FatalError,
    FettleError,
    InvalidValueError,
    LeaseLostError,
    NotPerformedError,
    ProblemError,
    QueueFullError,
    RefusedError,
    RetryableError,
    ShutdownError,
    StopError,
    StoppedError,
    UnreachableError,
    error_object,
    is_retryable,
)
from .jsontext import Json, payload_hash
from .may_i import Question, Verdict
from .observed import ObservedRun, StepScope
from .records import Actor, AgentLog, AuditEvent, Target, WorkflowFailure
from .retry import CALL_RETRY, RetryPolicy, full_jitter_ms, retrying
from .run import Run
from .side_effect import EffectOwner, Performed, Seen, SideEffect, SideEffectResult
from .step_log import StepFormatter
from .trace import Carried, carried_now, carrying
from .worker import Worker

__all__ = [
    "CALL_RETRY",
    "Actor",
    "AgentLog",
    "ApprovalDecision",
    "AuditEvent",
    "CancelledError",
    "Carried",
    "Clock",
    "EffectOwner",
    "EffectUnknownError",
    "EnqueuedRun",
    "FatalError",
    "Fettle",
    "FettleError",
    "InvalidValueError",
    "Json",
    "LeaseLostError",
    "NewRun",
    "NotPerformedError",
    "ObservedRun",
    "Performed",
    "ProblemError",
    "Question",
    "QueueFullError",
    "RefusedError",
    "RetryPolicy",
    "RetryableError",
    "Run",
    "RunRetry",
    "Seen",
    "ShutdownError",
    "SideEffect",
    "SideEffectResult",
    "StepFormatter",
    "StepScope",
    "StopError",
    "StoppedError",
    "SystemClock",
    "Target",
    "Trigger",
    "UnreachableError",
    "Verdict",
    "Worker",
    "WorkflowFailure",
    "carried_now",
    "carrying",
    "error_object",
    "full_jitter_ms",
    "is_retryable",
    "payload_hash",
    "retrying",
]
