"""A side effect, at most once: reserve → perform → verify → commit with proof.

reserve ─ go_on ────► perform ─ ok ──────────────► (verify) ─► commit
   │                     ├ NotPerformedError ───► release, raise
   │                     └ any other exception ─► verify ─ visible ──► commit
   │                                                ├ not visible ─► release, raise
   │                                                └ cannot say ──► stays reserved, EffectUnknownError
   ├ committed ────► the earlier result; nothing is performed
   ├ unknown ──────► verify ─ visible ──► committed, the earlier try did it
   │                    ├ not visible ─► reserve once more, go on
   │                    └ cannot say, or no verify ──► EffectUnknownError
   ├ in_progress ──► RetryableError: its owner is alive
   └ refused ──────► RefusedError
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from .call import Caller
from .errors import EffectUnknownError, FettleError, NotPerformedError, RefusedError, RetryableError, StopError
from .jsontext import Json, json_bytes, payload_hash, without_none


@dataclass(frozen=True)
class SideEffect:
    action: str
    target: str
    #: What is published, sent or charged. Its hash tells a repetition from another effect; the payload stays here.
    payload: Json = None
    #: Instead of `payload`.
    payload_hash: str | None = None
    client_id: str | None = None
    platform: str | None = None
    surface: str | None = None
    execution_lane: str | None = None
    tool: str | None = None
    agent: str | None = None
    #: For people; no more of the payload than may be read by everybody.
    summary: str | None = None
    #: Tells apart what is meant to happen again with the same payload: a date, a number.
    occurrence: str | None = None
    policy_snapshot_id: str | None = None


@dataclass(frozen=True)
class Performed:
    """What `perform` may return; a bare value is a result without proof."""

    result: Json = None
    proof: Mapping[str, Json] | None = None


@dataclass(frozen=True)
class Seen:
    """What `verify` returns: whether the effect can be seen from outside; None when that cannot be told now."""

    visible: bool | None
    proof: Mapping[str, Json] | None = None
    result: Json = None


@dataclass(frozen=True)
class SideEffectResult:
    side_effect_id: str
    result: Json
    #: True when an earlier try had already done it.
    earlier: bool
    #: `unverified`: performed, but without the proof that the action needs; a person sees it listed.
    state: Literal["committed", "unverified"]


Perform = Callable[[], "Performed | Json"]
Verify = Callable[[], Seen]


@dataclass(frozen=True)
class EffectOwner:
    """The run on whose behalf it happens. `stop` is set, and `reason` says why, when it must not begin any more."""

    run_id: str | None = None
    fence: int | str | None = None
    stop: threading.Event | None = None
    reason: Callable[[], StopError | None] = lambda: None


class SideEffects:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def run(self, effect: SideEffect, perform: Perform, verify: Verify | None, owner: EffectOwner) -> SideEffectResult:
        what = f"{effect.action} on {effect.target}"
        reserved = self._reserve(effect, owner)
        if reserved["decision"] == "unknown":
            settled = self._settle_earlier(what, reserved, verify)
            if settled is not None:
                return settled
            reserved = self._reserve(effect, owner)
        effect_id, decision = str(reserved["side_effect_id"]), reserved["decision"]
        if decision == "committed":
            return SideEffectResult(effect_id, (reserved.get("earlier") or {}).get("result"), True, "committed")
        if decision == "refused":
            raise RefusedError(f"{what} is refused: {reserved.get('reason') or 'by rule'}", reserved)
        if decision == "in_progress":
            raise RetryableError(f"{what} is under way elsewhere", code="in_progress")
        if decision != "go_on":
            raise EffectUnknownError(effect_id, f"{what}: still unknown after it was verified")
        # The lease may have gone while the reservation was under way: then the effect belongs to another worker.
        stopped = owner.reason()
        if stopped is not None:
            self._release(effect_id, "the worker stopped before it began")
            raise stopped
        return self._perform(effect_id, what, perform, verify)

    def _perform(self, effect_id: str, what: str, perform: Perform, verify: Verify | None) -> SideEffectResult:
        try:
            done = perform()
        except NotPerformedError as error:
            self._release(effect_id, str(error))
            raise
        except Exception as error:
            seen = _verified(verify)
            if seen.visible:
                return self._commit(effect_id, Performed(seen.result, seen.proof))
            if seen.visible is False:
                self._release(effect_id, str(error))
                raise
            raise EffectUnknownError(effect_id, f"{what} failed in doubt: {error}") from error
        performed = done if isinstance(done, Performed) else Performed(done)
        if verify is None:
            return self._commit(effect_id, performed)
        seen = _verified(verify)
        proof = {**(performed.proof or {}), **(seen.proof or {})}
        if seen.visible is False:
            proof["visible"] = False  # performed but not seen (yet): never counts as proven, nor is it done again
        return self._commit(effect_id, Performed(performed.result, proof))

    def _settle_earlier(self, what: str, reserved: Mapping[str, Any], verify: Verify | None) -> SideEffectResult | None:
        """The earlier try's fate: a result when it is visible, None when it is certainly absent."""
        effect_id = str(reserved["side_effect_id"])
        if verify is None:
            raise EffectUnknownError(effect_id, f"{what}: an earlier try may have done it; there is no way to verify")
        seen = _verified(verify)
        if seen.visible is None:
            raise EffectUnknownError(effect_id, f"{what}: an earlier try may have done it; verifying did not tell")
        answer = self._post(effect_id, "verify", {"visible": seen.visible, "proof": seen.proof, "result": seen.result})
        if not seen.visible:
            return None
        result = seen.result if seen.result is not None else (reserved.get("earlier") or {}).get("result")
        return SideEffectResult(effect_id, result, True, _state(answer))

    def _reserve(self, effect: SideEffect, owner: EffectOwner) -> Mapping[str, Any]:
        members = dict(vars(effect))
        members["payload_hash"] = effect.payload_hash or payload_hash(members.pop("payload"))
        members.pop("payload", None)
        members["payload_summary"] = members.pop("summary")
        members |= {"run_id": owner.run_id, "fence": owner.fence}
        body = json_bytes(without_none(members), effect.action)
        answer: Mapping[str, Any] = self._caller.post("/api/v1/side-effects/reserve", body, stop=owner.stop)
        return answer

    def _commit(self, effect_id: str, performed: Performed) -> SideEffectResult:
        try:
            # A result of null is a result.
            answer = self._post(effect_id, "commit", {"proof": performed.proof}, {"result": performed.result})
        except Exception as error:
            # Done, but not on record: the next try is told "unknown" and verifies.
            raise EffectUnknownError(effect_id, f"performed, but the commit failed: {error}") from error
        return SideEffectResult(effect_id, performed.result, False, _state(answer))

    def _release(self, effect_id: str, reason: str) -> None:
        """Best effort: a reservation that stays is "unknown" to the next try, which is safe."""
        try:
            self._post(effect_id, "release", {"reason": reason})
        except FettleError:
            pass

    def _post(
        self, effect_id: str, verb: str, members: Mapping[str, Json], always: Mapping[str, Json] | None = None
    ) -> Any:
        body = json_bytes({**without_none(members), **(always or {})}, verb)
        return self._caller.post(f"/api/v1/side-effects/{quote(effect_id, safe='')}/{verb}", body)


def _verified(verify: Verify | None) -> Seen:
    """A verification that fails tells nothing."""
    if verify is None:
        return Seen(None)
    try:
        return verify()
    except Exception:
        return Seen(None)


def _state(answer: Any) -> Literal["committed", "unverified"]:
    return "unverified" if isinstance(answer, Mapping) and answer.get("state") == "unverified" else "committed"
