"""The only door to a W&B server: `Client.execute` and `Client.request`.

One concern a layer: pace (Budget) → send → classify → retry or raise. GraphQL hides faults in
200 answers, so `classify` reads status and body; it is pure. What httpx raises is translated here,
once. The API key is held by the httpx transport alone and never enters a message.
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import orjson

import mirror
from mirror.errors import (
    Forbidden,
    GraphQLError,
    RateLimited,
    RemoteError,
    ServerFailed,
    Unauthorized,
    Unreachable,
)
from mirror.remote import operations

__all__ = ["Budget", "Client", "Reply", "Stats", "Wait", "classify"]

NOT_RETRIED = frozenset({400, 401, 403, 404, 409, 410, 413, 422, 501})
BACKOFF_S, BACKOFF_MAX_S = 0.5, 30.0
TRIES, WAIT_MAX_S = 6, 180.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its `data`, the server's clock as ISO 8601 text, its size and how long it took."""

    data: dict[str, Any]
    date: str | None = None
    bytes: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Come again: after `seconds` if the server said so, else after a back-off."""

    error: RemoteError
    seconds: float | None = None


@dataclass(slots=True)
class Stats:
    """What went over the wire since the client was made; bytes are after decompression."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    waited_s: float = 0.0


class Budget:
    """Paces requests, for all threads of a client together.

    Without a word from the server: `rate` requests a second with a small burst. With RateLimit
    headers (contract 1.40: Remaining of Limit, both scaled) the rate follows what is left, and at
    zero the budget waits for the reset. `rate=None` does not pace.
    """

    BURST = 5.0

    def __init__(
        self,
        rate: float | None = 1.0,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate
        self._ceiling = rate
        self._adaptive = rate is not None
        self._sleep = sleep
        self._clock = clock
        self._tokens = self.BURST
        self._at = clock()
        self._blocked_until = 0.0
        self._lock = threading.Lock()

    @property
    def rate(self) -> float | None:
        """Requests a second at the moment; None: not paced."""
        return self._rate

    def acquire(self) -> float:
        """Wait for a turn; return the seconds waited."""
        with self._lock:
            now = self._clock()
            wait = max(0.0, self._blocked_until - now)
            if self._rate is not None:
                self._tokens = min(self.BURST, self._tokens + (now - self._at) * self._rate)
                self._at = now
                self._tokens -= 1
                if self._tokens < 0:
                    wait = max(wait, -self._tokens / self._rate)
        if wait > 0:
            self._sleep(wait)
        return wait

    def heard(self, headers: Mapping[str, str]) -> None:
        """Adapt to the RateLimit headers of an answer."""
        remaining = _float(headers.get("ratelimit-remaining"))
        limit = _float(headers.get("ratelimit-limit")) or 1000.0
        reset = _float(headers.get("ratelimit-reset"))
        if remaining is None:
            return
        with self._lock:
            if remaining <= 0 and reset:
                self._blocked_until = self._clock() + min(reset, WAIT_MAX_S)
            elif self._adaptive:
                # From 1/s with little left to 10/s with all of it left.
                self._rate = max(1.0, 10.0 * min(1.0, remaining / limit))


class Client:
    """Speaks GraphQL with one W&B server. Safe to share between threads."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        timeout_s: float = 30.0,
        max_rps: float | None = None,
        budget: Budget | None = None,
        sleep: Callable[[float], object] = time.sleep,
        tries: int = TRIES,
        wait_max_s: float = WAIT_MAX_S,
        on_request: Callable[[Reply], object] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.stats = Stats()
        self.server_time: str | None = None
        self._has_key = bool(api_key)
        self._sleep = sleep
        self._tries = tries
        self._wait_max_s = wait_max_s
        self._on_request = on_request
        self._lock = threading.Lock()
        self._without: frozenset[str] = frozenset()
        self._timeout_s = timeout_s
        if budget is None:
            budget = Budget(max_rps or (None if _is_loopback(self.base_url) else 1.0), sleep=sleep)
        self._budget = budget
        try:
            self._http = httpx.Client(
                auth=httpx.BasicAuth("api", api_key) if api_key else None,
                timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
                headers={
                    "User-Agent": f"mirror/{mirror.__version__}",
                    "Content-Type": "application/json",
                    "Accept": "application/json",
                },
                transport=transport,
                limits=httpx.Limits(max_connections=10, max_keepalive_connections=10),
            )
        except (httpx.InvalidURL, ValueError, UnicodeError) as error:
            raise Unreachable(f"{self.base_url!r} cannot be used: {type(error).__name__}") from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.base_url} {'with a key' if self._has_key else 'without a key'}>"

    # -------------------------------------------------------------- asking

    def execute(self, operation: str, /, **variables: Any) -> dict[str, Any]:
        """Send a named operation and return its `data`. Raises RemoteError."""
        return self.request(operation, **variables).data

    def request(self, operation: str, /, **variables: Any) -> Reply:
        """Send a named operation and return the Reply. Raises RemoteError."""
        return self._without_unknown(
            lambda without: self.request_document(
                operations.document(operation, without), variables, operation
            )
        )

    def combined(
        self,
        selections: Mapping[str, operations.Selection],
        *,
        tries: int | None = None,
        **variables: Any,
    ) -> Reply:
        """Send several selections of one project as one document (`operations.combine`)."""

        def send(without: frozenset[str]) -> Reply:
            text, more = operations.combine(selections, without)
            return self.request_document(text, {**variables, **more}, "MirrorProject", tries=tries)

        return self._without_unknown(send)

    def _without_unknown(self, send: Callable[[frozenset[str]], Reply]) -> Reply:
        """Send; on "Cannot query field X" and the like leave X out, for good, and send again."""
        while True:
            without = self._without
            try:
                return send(without)
            except GraphQLError as error:
                unknown = _unknown_fields(error) & operations.OPTIONAL - without
                if not unknown:
                    raise
                with self._lock:
                    self._without |= unknown

    @property
    def fields_left_out(self) -> frozenset[str]:
        """Optional fields that this server turned out not to know."""
        return self._without

    def request_document(
        self,
        document: str,
        variables: Mapping[str, Any] | None = None,
        operation: str | None = None,
        *,
        tries: int | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send a document of GraphQL text. A mutation is not sent twice unless it never arrived."""
        name = operation or _operation_name(document)
        body = _encode(
            {"query": document, "variables": dict(variables or {}), "operationName": name}
        )
        mutation = bool(re.match(r"\s*mutation\b", document))
        return self._retrying(name or "query", body, tries or self._tries, mutation, timeout_s)

    # -------------------------------------------------------------- pace, send, classify, retry

    def _retrying(
        self, operation: str, body: bytes, tries: int, mutation: bool, timeout_s: float | None
    ) -> Reply:
        waited = 0.0
        for attempt in range(1, tries + 1):
            outcome = self._attempt(operation, body, mutation, timeout_s)
            if isinstance(outcome, Reply):
                return outcome
            if isinstance(outcome, RemoteError):
                raise outcome
            wait = outcome.seconds if outcome.seconds is not None else _backoff_s(attempt)
            if attempt == tries or waited + wait > self._wait_max_s:
                raise _gave_up(outcome.error, attempt, wait)
            with self._lock:
                self.stats.retries += 1
                self.stats.waited_s += wait
            self._sleep(wait)
            waited += wait
        raise AssertionError("tries is at least 1")

    def _attempt(
        self, operation: str, body: bytes, mutation: bool, timeout_s: float | None
    ) -> Reply | Wait | RemoteError:
        self._budget.acquire()
        began = time.monotonic()
        with self._lock:
            self.stats.requests += 1
        try:
            with _translated(self.base_url, operation):
                response = self._http.post(
                    f"{self.base_url}/graphql",
                    content=body,
                    timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
                )
        except _Transient as error:
            # A mutation that may have arrived is not sent again.
            return error.as_remote() if mutation and error.arrived else Wait(error.as_remote())
        except _Final as error:
            return error.as_remote()
        elapsed = time.monotonic() - began
        outcome = classify(operation, response.status_code, response.headers, response.content)
        self._heard(response, outcome, elapsed)
        if isinstance(outcome, Wait) and mutation and response.status_code != 429:
            return outcome.error
        if isinstance(outcome, dict):
            date = _date(response.headers)
            reply = Reply(outcome, date, len(response.content), elapsed)
            if self._on_request is not None:
                self._on_request(reply)
            return reply
        if isinstance(outcome, Unauthorized) and not self._has_key:
            return _no_key(self.base_url)
        return outcome

    def _heard(self, response: httpx.Response, outcome: object, _elapsed: float) -> None:
        self._budget.heard(response.headers)
        date = _date(response.headers)
        with self._lock:
            self.stats.bytes += len(response.content)
            if date is not None and not isinstance(outcome, RemoteError):
                self.server_time = date


# ------------------------------------------------------------------ classification (pure)


def classify(
    operation: str, status: int, headers: Mapping[str, str], content: bytes
) -> dict[str, Any] | Wait | RemoteError:
    """Say what an answer means: its data, come again, or an error to raise (not raised here).

    Reads all four error envelopes (contract 1.20), with any status.
    """
    body = _decode(content)
    messages = _messages(body)
    text = "; ".join(messages)
    if status == 429:
        return Wait(
            RateLimited(f"{operation}: the server limits the rate (429)", operation=operation),
            _retry_after_s(headers),
        )
    if status in (408, 425) or (status >= 500 and status not in NOT_RETRIED):
        said = f": {text}" if text else ""
        error = ServerFailed(
            f"{operation}: the server failed ({status}){said}", operation=operation, status=status
        )
        return Wait(error, _retry_after_s(headers))
    if status >= 400:
        return _refused(operation, status, messages)
    if 300 <= status < 400:
        return Unreachable(
            f"{operation}: the server redirects to {headers.get('location', 'elsewhere')!r}: "
            "set base_url to the address of the API itself",
            operation=operation,
            status=status,
        )
    if not isinstance(body, dict):
        return _unreadable(operation, status, headers, content)
    if messages:
        return _refused(operation, status, messages, body)
    data = body.get("data")
    if not isinstance(data, dict):
        return _unreadable(operation, status, headers, content)
    return data


def _refused(
    operation: str, status: int, messages: list[str], body: dict[str, Any] | None = None
) -> RemoteError:
    text = "; ".join(messages)
    said = f": {text}" if text else ""
    low = text.lower()
    if status == 401 or "not logged in" in low or "invalid api key" in low:
        return Unauthorized(
            f"{operation}: the server refused the API key ({status}){said}: check it at "
            "<server>/authorize, and where it comes from with `mirror doctor`",
            operation=operation,
            status=status,
        )
    if status == 403 or "permission denied" in low or "forbidden" in low:
        return Forbidden(
            f"{operation}: the server does not let this key do that ({status}){said}",
            operation=operation,
            status=status,
        )
    error = GraphQLError(operation, messages or [f"HTTP {status}"], status=status)
    error.fields = _error_fields(body)
    return error


def _unreadable(
    operation: str, status: int, headers: Mapping[str, str], content: bytes
) -> Wait | RemoteError:
    kind = headers.get("content-type", "")
    if "html" in kind or content.lstrip()[:1] == b"<":
        return Unreachable(
            f"{operation}: this address answers a web page, not the W&B API: set base_url to the "
            "API's address, such as https://api.wandb.ai",
            operation=operation,
            status=status,
        )
    return Wait(
        ServerFailed(
            f"{operation}: the answer ({len(content)} bytes, status {status}) is not whole JSON",
            operation=operation,
            status=status,
        )
    )


def _decode(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    try:  # lone surrogates and bare NaN: json reads what orjson refuses
        return json.loads(content.decode("utf-8", "surrogatepass"), strict=False)
    except ValueError:
        return None


def _messages(body: Any) -> list[str]:
    """The error messages of a body, in any of the envelopes of contract 1.20."""
    if not isinstance(body, dict):
        return []
    found = body.get("errors") or ([body["error"]] if body.get("error") else [])
    if isinstance(found, str | dict):
        found = [found]
    messages = []
    for item in found:
        message = item.get("message") if isinstance(item, dict) else item
        messages.append(str(message or "error without a message"))
    return messages


def _error_fields(body: dict[str, Any] | None) -> frozenset[str]:
    """Names of the fields at which errors arose, where the server says so (`path`)."""
    names = set()
    for item in (body or {}).get("errors") or []:
        path = item.get("path") if isinstance(item, dict) else None
        if path and isinstance(path[-1], str):
            names.add(path[-1])
    return frozenset(names)


_UNKNOWN = re.compile(
    r"""Cannot query field ["'](\w+)["']|Unknown argument ["'](\w+)["']|non-nullable field \w+\.(\w+)"""
)


def _unknown_fields(error: GraphQLError) -> frozenset[str]:
    named = {
        name for text in error.errors for match in _UNKNOWN.findall(text) for name in match if name
    }
    return frozenset(named) | error.fields


# ------------------------------------------------------------------ time and numbers


def _backoff_s(attempt: int) -> float:
    return min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** (attempt - 1)) * random.uniform(1.0, 1.25)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks for: Retry-After (seconds or a date), then RateLimit-Reset."""
    text = headers.get("retry-after")
    if text:
        seconds = _float(text)
        if seconds is not None:
            return max(0.0, seconds)
        moment = _http_date(text)
        if moment is not None:
            now = _http_date(headers.get("date")) or datetime.now(UTC)
            return max(0.0, (moment - now).total_seconds())
    reset = _float(headers.get("ratelimit-reset"))
    return None if reset is None else max(0.0, reset)


def _float(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is None or abs(value) < 1e9 else None


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _date(headers: Mapping[str, str]) -> str | None:
    moment = _http_date(headers.get("date"))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _gave_up(error: RemoteError, tries: int, wait: float) -> RemoteError:
    """The same error, saying how patient we were."""
    times = f"after {tries} tries" if tries > 1 else "once"
    if isinstance(error, RateLimited):
        return RateLimited(
            f"{error}, {times}; the next may be made in {wait:.0f} s: run the command again later, "
            "or lower max_rps",
            retry_after_s=wait,
            operation=error.operation,
        )
    return type(error)(f"{error} ({times})", operation=error.operation, status=error.status)


def _no_key(base_url: str) -> Unauthorized:
    return Unauthorized(
        f"{base_url} wants an API key and none was found: set WANDB_API_KEY, run `wandb login`, or "
        "put it in ~/.netrc"
    )


# ------------------------------------------------------------------ httpx, translated once


@dataclass(eq=False)
class _Transient(Exception):
    """A fault worth another try; `arrived` when the server may have seen the request."""

    kind: Literal["unreachable", "failed"]
    message: str
    operation: str
    arrived: bool = True

    def as_remote(self) -> RemoteError:
        made = Unreachable if self.kind == "unreachable" else ServerFailed
        return made(self.message, operation=self.operation)


@dataclass(eq=False)
class _Final(Exception):
    """A fault that another try cannot mend."""

    message: str
    operation: str
    cause: str = field(default="")

    def as_remote(self) -> RemoteError:
        return Unreachable(self.message, operation=self.operation)


@contextmanager
def _translated(base_url: str, operation: str) -> Iterator[None]:
    """Turn every exception of httpx into ours; `from None`, since theirs carry the request."""
    host = urlsplit(base_url).netloc.rpartition("@")[2] or base_url
    try:
        yield
    except httpx.ConnectError as error:
        text = str(error)
        if "CERTIFICATE" in text.upper() or "SSL" in text.upper():
            raise _Final(
                f"{host}: TLS failed ({text}): check base_url, the system's clock, and SSL_CERT_FILE "
                "for a private certificate authority",
                operation,
            ) from None
        raise _Transient(
            "unreachable",
            f"{host} cannot be reached ({text or 'connection failed'}): check the network and base_url",
            operation,
            arrived=False,
        ) from None
    except (httpx.ConnectTimeout, httpx.PoolTimeout):
        raise _Transient(
            "unreachable",
            f"{host} cannot be reached (no connection in time): check the network and base_url",
            operation,
            arrived=False,
        ) from None
    except httpx.TimeoutException:
        raise _Transient(
            "failed", f"{operation}: {host} did not answer in time", operation
        ) from None
    except (
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
        httpx.TooManyRedirects,
        httpx.CookieConflict,
    ) as error:
        raise _Final(f"base_url {base_url!r} cannot be used: {error}", operation) from None
    except httpx.HTTPError as error:  # a connection that broke, a body that cannot be read
        text = str(error) or type(error).__name__
        raise _Transient(
            "failed", f"{operation}: the connection to {host} broke ({text})", operation
        ) from None
    except (httpx.StreamError, RuntimeError) as error:
        raise _Final(
            f"{operation}: the request could not be sent ({type(error).__name__}: {error})",
            operation,
        ) from None


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _operation_name(document: str) -> str | None:
    match = re.search(r"\b(?:query|mutation)\s+(\w+)", document)
    return match[1] if match else None


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except (TypeError, orjson.JSONEncodeError):  # lone surrogates, integers beyond 64 bits
        return json.dumps(body).encode()
