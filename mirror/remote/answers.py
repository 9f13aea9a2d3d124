"""What an answer of the server means: its data, come again later, or an error. Pure.

GraphQL hides faults in 200 answers and proxies put web pages into errors, so `classify` reads status
and body together. Envelopes and codes are those of the contract, 1.20 to 1.43.
"""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from mirror.errors import (
    Forbidden,
    GraphQLError,
    RateLimited,
    RemoteError,
    ServerFailed,
    TooLarge,
    Unauthorized,
    Unreachable,
)

__all__ = ["Wait", "classify", "number", "server_date", "unknown_fields"]

FINAL = frozenset({400, 401, 403, 404, 409, 410, 413, 422, 501})
"""Statuses that another try cannot change; every other one of 400 and above may pass."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Come again: after `seconds` if the server said so, else after a back-off."""

    error: RemoteError
    seconds: float | None = None


Headers = Mapping[str, str]


def classify(
    operation: str, status: int, headers: Headers, content: bytes
) -> dict[str, Any] | Wait | RemoteError:
    """Say what an answer means: its data, Wait, or an error to raise (it is not raised here)."""
    body = _decode(content)
    messages = _messages(body)
    if status == 429 or (messages and _RATE.search(" ".join(messages))):
        error = RateLimited(f"{operation}: the server limits the rate (429)", operation=operation)
        asked = _retry_after_s(headers)
        return Wait(error, _reset_s(headers) if asked is None else asked)
    if 300 <= status < 400:
        return _redirected(operation, status, headers)
    if status >= 400:
        return _failed(operation, status, headers, messages, content, body)
    if messages:
        return _refused(operation, status, messages, body)
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        return _unreadable(operation, status, headers, content, body)
    data: dict[str, Any] = body["data"]
    return data


# What servers say in words only. Matched without regard to case.
_RATE = re.compile(r"rate limit|too many requests", re.I)
_PASSING = re.compile(
    r"internal (server |system )?error|time[d ]*[ -]?out|temporar|unavailable|try again|deadline"
    r"|overload|context canceled|connection re(set|fused)|panic", re.I)  # fmt: skip
_TOO_LARGE = re.compile(
    r"complexity|page size|\b(query|request|response|result|entity)( \w+)? too (large|complex|expensive)"
    r"|\b(first|last|limit|per_?page)\b.{0,40}(exceed|max|at most|less than|greater|larger|too (big|large|many)|<=|≤|between)"
    r"|(exceed|greater than|larger than|too many|more than).{0,40}\b(first|records|nodes|rows|edges|items)\b", re.I)  # fmt: skip
_STATED = re.compile(
    r"(?:at most|max(?:imum)?|limit|exceeds?|than(?: or equal to)?|<=|≤|between \d+ and)\D{0,30}?(\d+)", re.I)  # fmt: skip
_KEY = re.compile(r"not logged in|invalid api key|unauthenticated", re.I)
_RIGHT = re.compile(r"permission denied|forbidden|access denied|unauthorized|not authorized", re.I)


def _failed(
    operation: str, status: int, headers: Headers, messages: list[str], content: bytes, body: Any
) -> Wait | RemoteError:
    said = f": {'; '.join(messages)}" if messages else ""
    if status not in FINAL and status != 407:
        error = ServerFailed(
            f"{operation}: the server failed ({status}){said}", operation=operation, status=status
        )
        return Wait(error, _retry_after_s(headers))
    if messages or status in (401, 413):
        return _refused(operation, status, messages, body)
    return _not_wandb(operation, status, headers, content)


def _refused(operation: str, status: int, messages: list[str], body: Any) -> Wait | RemoteError:
    """An answer with the server's own words."""
    if status < 400 and _PASSING.search("; ".join(messages)):
        said = "; ".join(messages)
        return Wait(ServerFailed(f"{operation}: the server failed: {said}", operation=operation, status=status))  # fmt: skip
    error = _refusal(operation, status, messages)
    error.fields = _error_fields(body)
    return error


def _refusal(operation: str, status: int, messages: list[str]) -> RemoteError:
    text = "; ".join(messages)
    said = f": {text}" if text else ""
    about: Any = {"operation": operation, "status": status}
    if status == 401 or _KEY.search(text):
        return Unauthorized(
            f"{operation}: the server refused the API key ({status}){said}: check it at "
            "<server>/authorize, and where it comes from with `mirror doctor`",
            **about,
        )
    if status == 403 or _RIGHT.search(text):
        return Forbidden(
            f"{operation}: the server does not let this key do that ({status}){said}", **about
        )
    if status == 413 or _TOO_LARGE.search(text):
        error = TooLarge(
            f"{operation}: the server refuses so much at once ({status}){said}: lower page_size_max "
            "under [sync]",
            **about,
        )
        error.most = _stated_limit(text)
        return error
    if status == 501:
        return ServerFailed(f"{operation}: the server cannot do that ({status}){said}", **about)
    return GraphQLError(operation, messages or [f"HTTP {status}"], status=status)


def _stated_limit(text: str) -> int | None:
    """How large a page may be at most, where a refusal says so."""
    found = None if "complexity" in text.lower() else _STATED.search(text)
    return int(found[1]) if found else None


def _redirected(operation: str, status: int, headers: Headers) -> RemoteError:
    target = headers.get("location", "")
    address = target.removesuffix("/graphql")
    advice = (
        f"set base_url to {address}"
        if address.startswith("http") and address != target
        else "set base_url to the address of the API itself"
    )
    return Unreachable(
        f"{operation}: the server redirects ({status}) to {target or 'elsewhere'!r}: {advice}",
        operation=operation,
        status=status,
    )


def _not_wandb(operation: str, status: int, headers: Headers, content: bytes) -> RemoteError:
    """An error without a word of W&B in it: something else answers at this address."""
    if status == 407:
        what = "a proxy on the way asks for credentials: put them into HTTPS_PROXY"
    elif status == 403:
        what = f"{_kind(headers, content)} instead of W&B's answer: a proxy or firewall on the way refuses it"  # fmt: skip
    else:
        what = (
            f"{_kind(headers, content)} instead of W&B's answer: set base_url to the API's address, "
            "such as https://api.wandb.ai"
        )
    return Unreachable(
        f"{operation}: this address answers {status} and {what}", operation=operation, status=status
    )


def _kind(headers: Headers, content: bytes) -> str:
    if "html" in headers.get("content-type", "") or content.lstrip()[:1] == b"<":
        return "a web page"
    shown = " ".join(content[:200].decode("utf-8", "replace").split())[:60]
    return f"the text {shown!r}" if shown.isprintable() and shown else "nothing readable"


def _unreadable(
    operation: str, status: int, headers: Headers, content: bytes, body: Any
) -> Wait | RemoteError:
    if _kind(headers, content) == "a web page":
        return _not_wandb(operation, status, headers, content)
    what = "is not whole JSON" if body is None else "holds no data"
    return Wait(
        ServerFailed(
            f"{operation}: the answer ({len(content):,} bytes, status {status}) {what}",
            operation=operation,
            status=status,
        )
    )


# ------------------------------------------------------------------ bodies


def _decode(content: bytes) -> Any:
    """The JSON of a body, also with lone surrogates, raw control characters and bare NaN; else None."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(content.decode("utf-8", "surrogatepass"), strict=False)
    except (ValueError, RecursionError):
        return None


def _messages(body: Any) -> list[str]:
    """The error messages of a body, in any of the four envelopes."""
    if not isinstance(body, dict):
        return []
    found = body.get("errors") or ([body["error"]] if body.get("error") else [])
    if not isinstance(found, list):
        found = [found]
    messages = []
    for item in found:
        message = item.get("message") if isinstance(item, dict) else item
        messages.append(str(message or "error without a message"))
    return messages


def _error_fields(body: Any) -> frozenset[str]:
    """Names of the fields at which errors arose, where the server says so (`path`)."""
    names = set()
    found = body.get("errors") if isinstance(body, dict) else None
    for item in found if isinstance(found, list) else []:
        path = item.get("path") if isinstance(item, dict) else None
        if isinstance(path, list) and path and isinstance(path[-1], str):
            names.add(path[-1])
    return frozenset(names)


_UNKNOWN = re.compile(
    r"""Cannot query field ["'“](?P<lacking>\w+)["'”](?: on type ["'“](?P<kind>\w+)["'”])?"""
    r"""|non-nullable field (?P<null>\w+\.\w+)"""
)


def unknown_fields(error: GraphQLError) -> frozenset[str]:
    """Return the fields, as `Type.field`, that a server says it does not have, as older ones do (1.27)."""
    said = (match for text in error.errors for match in _UNKNOWN.finditer(text))
    return frozenset(
        match["null"] or ".".join(filter(None, (match["kind"], match["lacking"]))) for match in said
    )


# ------------------------------------------------------------------ headers


def number(text: str | None) -> float | None:
    """Return the number of a header; None for none, for what is no number, and for infinities."""
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is None or abs(value) < 1e9 else None


def _retry_after_s(headers: Headers) -> float | None:
    """Seconds of Retry-After, which is a number of seconds or a date."""
    text = headers.get("retry-after")
    seconds = number(text)
    if seconds is None:
        moment = _http_date(text)
        if moment is None:
            return None
        now = _http_date(headers.get("date")) or datetime.now(UTC)
        seconds = (moment - now).total_seconds()
    return max(0.0, seconds)


def _reset_s(headers: Headers) -> float | None:
    reset = number(headers.get("ratelimit-reset"))
    return None if reset is None else max(0.0, reset)


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def server_date(headers: Headers) -> str | None:
    """Return the server's clock as ISO 8601 text; None without a Date header."""
    moment = _http_date(headers.get("date"))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
