"""JSON as it travels, and in the canonical form that hashes are taken of (RFC 8785)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidValueError

#: What JSON can say: None, bool, int, float, str, and lists and dictionaries of these.
Json = Any

# One for all: json.dumps would make one for each call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_bytes(value: Json, what: str) -> bytes:
    """UTF-8 text of one JSON value. InvalidValueError for NaN, cycles, lone surrogates, and what is no JSON at all."""
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"{what} cannot be written as JSON: {error}") from error


def without_none(members: Mapping[str, Json]) -> dict[str, Json]:
    """Absent is written as no member at all."""
    return {name: value for name, value in members.items() if value is not None}


def payload_hash(payload: Json) -> str:
    """SHA-256 of the payload's canonical JSON: neither the order of members nor the language is a difference."""
    return hashlib.sha256(canonical_json(payload).encode()).hexdigest()


def canonical_json(value: Json) -> str:
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise InvalidValueError("names of members must be text")
        names = sorted(value, key=_utf16)
        return "{" + ",".join(f"{_text(name)}:{canonical_json(value[name])}" for name in names) + "}"
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return "[" + ",".join(canonical_json(item) for item in value) + "]"
    if isinstance(value, float):
        return _number(value)
    return _text(value)


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def _text(value: Json) -> str:
    return json_bytes(value, "payload").decode()


def _number(value: float) -> str:
    """As ECMAScript writes it: 1 for 1.0, and an exponent only below 1e-6 and from 1e21 on."""
    if value == 0:
        return "0"
    mantissa, _, exponent = _text(value).partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{rest}e{point - 1:+d}"
