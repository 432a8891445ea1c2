"""A person's decision, for which a run waits: what is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .jsontext import Json

Role = Literal["viewer", "operator", "manager", "admin", "owner"]


@dataclass(frozen=True)
class ApprovalDecision:
    decision: Literal["approved", "rejected", "expired"]
    #: Nobody, when it has expired.
    decided_by: str | None = None
    note: str | None = None
    #: Approved with these changes.
    edited: Json = None


def decision_of(result: Mapping[str, Any]) -> ApprovalDecision:
    """The step's result as the caller knows it."""
    return ApprovalDecision(result["decision"], result.get("by"), result.get("note"), result.get("edited"))
