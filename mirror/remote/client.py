"""The only door to a W&B server: `Client.execute` and `Client.request`.

One concern a layer: pace (`budget`) → send → classify (`answers`) → retry or raise. What httpx raises
is translated here, once. The API key is held by the httpx transport and by one object without a
repr, and is cut out of whatever the server says.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
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
    TooLarge,
    Unauthorized,
    Unreachable,
)
from mirror.remote import operations
from mirror.remote.answers import Wait, classify, server_date, unknown_fields
from mirror.remote.budget import Budget
from mirror.remote.operations import PageLimits

__all__ = ["WAIT_MAX_S", "Client", "Reply", "Stats", "backoff_s"]

BACKOFF_S, BACKOFF_MAX_S = 0.5, 30.0
TRIES, RATE_TRIES, WAIT_MAX_S = 6, 12, 180.0
"""At most so many tries of a request (more where the rate is limited), and so long a wait in all."""

ANSWER_TIMES = 5
"""A whole answer may take so many times the time-out: that one is for each silence in it."""

CONNECTIONS = 10
"""Requests at a time, as W&B's own client limits itself."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its `data`, the server's clock as ISO 8601 text, its size and how long it took."""

    data: dict[str, Any]
    date: str | None = None
    bytes: int = 0
    elapsed_s: float = 0.0


@dataclass(slots=True)
class Stats:
    """What went over the wire since the client was made; bytes are after decompression."""

    requests: int = 0
    bytes: int = 0
    retries: int = 0
    waited_s: float = 0.0


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
        use_admin: bool = False,
    ) -> None:
        """Open nothing yet. Without `max_rps` the pace is polite; on loopback there is none.

        `use_admin` asks for the rights of an instance's admin. Raises Unreachable where the proxies
        or certificates named by the environment cannot be used.
        """
        self.base_url = base_url.rstrip("/")
        self.stats = Stats()
        self.server_time: str | None = None
        self._secret = _Secret(api_key)
        self._sleep = sleep
        self._tries = tries
        self._wait_max_s = wait_max_s
        self._on_request = on_request
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(CONNECTIONS)
        self._without: frozenset[str] = frozenset()
        self._page_limits = PageLimits()
        self._timeout_s = timeout_s
        self._pace_all = max_rps is not None
        loopback = _is_loopback(self.base_url)
        self._budget = budget or _budget(max_rps, loopback, sleep)
        self._http = _opened(
            auth=self._secret.auth(),
            timeout=_timeout(timeout_s),
            headers={
                "User-Agent": f"mirror/{mirror.__version__}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                **({"Use-Admin-Privileges": "true"} if use_admin else {}),
            },
            transport=transport,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=not loopback,  # no proxy leads to this machine
        )

    @property
    def has_key(self) -> bool:
        """Whether requests carry an API key."""
        return bool(self._secret)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.base_url} {'with a key' if self._secret else 'without a key'}>"

    # -------------------------------------------------------------- asking

    def execute(self, operation: str, /, **variables: Any) -> dict[str, Any]:
        """Send a named operation and return its `data`. Raises RemoteError."""
        return self.request(operation, **variables).data

    def request(self, operation: str, /, **variables: Any) -> Reply:
        """Send a named operation and return the Reply. Raises RemoteError.

        Where the server refuses pages so large, asks for smaller ones, from then on: a page may hold
        fewer than were asked for, and say that there are more.
        """
        return self._sized(
            operation, variables, lambda without: operations.document(operation, without)
        )

    def each_by_id(
        self, field: str, fragment: str, ids: Sequence[str]
    ) -> list[dict[str, Any] | None]:
        """Ask a root field (`artifact`, `artifactCollection`) for nodes by id, in one request."""
        variables = {f"id{number}": each for number, each in enumerate(ids)}
        data = self._without_unknown(
            lambda without: self.request_document(
                operations.each_by_id(field, fragment, len(ids), without), variables, "MirrorEach"
            )
        ).data
        return [data.get(f"node{number}") for number in range(len(ids))]

    def pulse(self, operation: str, names: Sequence[str], **variables: Any) -> dict[str, Any]:
        """Send an operation that asks collections who has each alias, too (`operations.pulse`)."""
        named = {f"named{number}": name for number, name in enumerate(names)}
        return self._sized(
            operation,
            {**variables, **named},
            lambda without: operations.pulse(operation, len(names), without),
        ).data

    def members_by_alias(self, asked: Sequence[tuple[str, str]]) -> list[Mapping[str, Any] | None]:
        """Ask collections, by id, for the member (`id`, `artifact {id}`) that has an alias; or None.

        All in one request. `v<N>` is an alias, too.
        """
        variables: dict[str, str] = {}
        for number, (collection, alias) in enumerate(asked):
            variables |= {f"id{number}": collection, f"alias{number}": alias}
        text = operations.members_by_alias(len(asked))
        data = self.request_document(text, variables, "MirrorMembersByAlias").data
        return [
            (data.get(f"node{number}") or {}).get("artifactMembership")
            for number in range(len(asked))
        ]

    def combined(
        self,
        selections: Mapping[str, operations.Selection],
        *,
        tries: int | None = None,
        **variables: Any,
    ) -> Reply:
        """Send several selections of one project as one document (`operations.combine`).

        Pages are as in `request`.
        """

        def send(without: frozenset[str]) -> Reply:
            text, more = operations.combine(fitting, without)
            return self.request_document(text, {**variables, **more}, "MirrorProject", tries=tries)

        while True:
            fitting = {alias: self._page_limits.fit(item) for alias, item in selections.items()}
            try:
                return self._without_unknown(send)
            except TooLarge as error:
                if not self._page_limits.lower(fitting.values(), error.most):
                    raise

    def _sized(
        self,
        operation: str,
        variables: Mapping[str, Any],
        text: Callable[[frozenset[str]], str],
    ) -> Reply:
        """Send a named operation, with smaller pages where the server refuses so large ones."""
        while True:
            fitting = self._page_limits.fit_variables(operation, variables)
            try:
                return self._without_unknown(
                    lambda without: self.request_document(text(without), fitting, operation)  # noqa: B023
                )
            except TooLarge as error:
                if not self._page_limits.lower_variables(operation, fitting, error.most):
                    raise

    def _without_unknown(self, send: Callable[[frozenset[str]], Reply]) -> Reply:
        """Send; leave out, for good, optional fields that the server does not have or give, and send again."""
        while True:
            without = self._without
            try:
                return send(without)
            except (GraphQLError, Forbidden) as error:
                unknown = _to_leave_out(error) - without
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
        return self._retrying(name or "query", body, tries, _is_mutation(document), timeout_s)

    @contextmanager
    def stream(self, url: str, **options: Any) -> Iterator[httpx.Response]:
        """Yield the response to a GET of an address, its body unread (`mirror.remote.downloads`).

        Paced like any request where it goes to the API's own host; to other hosts, which W&B's rate
        limit does not count, only by `max_rps` if that was given. Raises what httpx raises.
        """
        if self._pace_all or self.is_own(url):
            self._budget.acquire()
        with self._lock:
            self.stats.requests += 1
        with (
            self._turns,
            self._http.stream("GET", url, follow_redirects=True, **options) as response,
        ):
            yield response

    def pause(self, seconds: float) -> None:
        """Wait before another try; ends early with what the `sleep` of the client raises."""
        with self._lock:
            self.stats.retries += 1
            self.stats.waited_s += seconds
        self._sleep(seconds)

    def is_own(self, url: str) -> bool:
        """Whether an address is of the API's own host, over the same protocol: it may see the key."""
        return _origin(url) == _origin(self.base_url)

    # -------------------------------------------------------------- pace, send, classify, retry

    def _retrying(
        self,
        operation: str,
        body: bytes,
        tries: int | None,
        mutation: bool,
        timeout_s: float | None,
    ) -> Reply:
        waited, attempt = 0.0, 0
        while True:
            attempt += 1
            outcome = self._attempt(operation, body, mutation, timeout_s)
            if isinstance(outcome, Reply):
                return outcome
            if isinstance(outcome, RemoteError):
                raise outcome
            # "In 0 seconds" is no reason to ask in a tight loop.
            wait = outcome.seconds or backoff_s(attempt)
            patience = self._patience(outcome, tries)
            if attempt >= patience or waited + wait > self._wait_max_s:
                raise _gave_up(outcome.error, attempt, wait)
            self.pause(wait)
            waited += wait

    def _patience(self, outcome: Wait, tries: int | None) -> int:
        """Tries in all. A caller's `tries` is about failures: a limited rate says nothing of a page."""
        if _is_rate(outcome) and self._tries > 1:
            return max(self._tries, RATE_TRIES)
        return tries or self._tries

    def _attempt(
        self, operation: str, body: bytes, mutation: bool, timeout_s: float | None
    ) -> Reply | Wait | RemoteError:
        """Ask once. Only what is safe to ask again comes back as Wait."""
        silent_s = self._budget.silent_s
        if silent_s > self._wait_max_s:  # another request was told so; this one would be, too
            return _silent(self.base_url, operation, silent_s)
        self._budget.acquire()
        began = time.monotonic()
        with self._lock:
            self.stats.requests += 1
        try:
            response = self._send(operation, body, timeout_s)
        except _Fault as fault:
            error = fault.as_remote()
            again = fault.passing and not (mutation and fault.arrived)
            return Wait(error) if again else error
        outcome = self._meaning(operation, response)
        self._heard(response, outcome)
        if isinstance(outcome, dict):
            size, took = len(response.content), time.monotonic() - began
            reply = Reply(outcome, server_date(response.headers), size, took)
            if self._on_request is not None:
                self._on_request(reply)
            return reply
        if isinstance(outcome, Wait) and mutation and not _is_rate(outcome):
            return outcome.error  # it may have been done: not a second time
        return outcome

    def _send(self, operation: str, body: bytes, timeout_s: float | None) -> _Answer:
        # Our own queue: threads that wait in httpcore's pool (1.0.9) are at times handed a connection
        # that another thread closes ("Bad file descriptor"), or one whose answer never comes.
        waits_s = self._timeout_s if timeout_s is None else timeout_s
        until = time.monotonic() + ANSWER_TIMES * waits_s
        with (
            self._turns,
            _translated(self.base_url, operation),
            self._http.stream(
                "POST", f"{self.base_url}/graphql", content=body, timeout=_timeout(waits_s)
            ) as response,
        ):
            return _Answer(response.status_code, response.headers, _read(response, until))

    def _meaning(self, operation: str, response: _Answer) -> dict[str, Any] | Wait | RemoteError:
        outcome = classify(operation, response.status_code, response.headers, response.content)
        if isinstance(outcome, dict):
            return outcome
        if isinstance(outcome, Unauthorized) and not self._secret:
            return _no_key(self.base_url)
        if self._secret.is_in(response):  # a server may quote the key that it refuses
            headers, content = self._secret.cut_out(response)
            return classify(operation, response.status_code, headers, content)
        return outcome

    def _heard(self, response: _Answer, outcome: object) -> None:
        if isinstance(outcome, Wait) and _is_rate(outcome):
            self._budget.silence(outcome.seconds or 0.0)
        else:
            self._budget.heard(response.headers)
        date = server_date(response.headers)
        with self._lock:
            self.stats.bytes += len(response.content)
            if date is not None and not isinstance(outcome, RemoteError):
                self.server_time = date


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP answer, read to its end; the content is decompressed."""

    status_code: int
    headers: httpx.Headers
    content: bytes


def _read(response: httpx.Response, until: float) -> bytes:
    """Read an answer to its end: a server that drips is given up like one that is silent."""
    parts = []
    for part in response.iter_bytes():
        parts.append(part)
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer takes too long", request=response.request)
    return b"".join(parts)


class _Secret:
    """The API key, where no repr, no traceback and no message finds it."""

    __slots__ = ("_key", "_spellings")

    def __init__(self, key: str | None) -> None:
        self._key = key or None
        # As it is, and as the header of requests spells it.
        self._spellings = (key, base64.b64encode(f"api:{key}".encode()).decode()) if key else ()

    def __bool__(self) -> bool:
        return self._key is not None

    def __repr__(self) -> str:
        return "<a key>" if self else "<no key>"

    def auth(self) -> httpx.BasicAuth | None:
        """The authorisation of requests: user `api`, the key as password."""
        return httpx.BasicAuth("api", self._key) if self._key else None

    def is_in(self, response: _Answer) -> bool:
        """Whether an answer quotes the key, in its body or where it redirects to."""
        said = response.content + response.headers.get("location", "").encode()
        return any(spelling.encode() in said for spelling in self._spellings)

    def cut_out(self, response: _Answer) -> tuple[dict[str, str], bytes]:
        """The headers and the body of an answer, without the key."""
        headers, content = dict(response.headers), response.content
        for spelling in self._spellings:
            headers = {name: text.replace(spelling, "…") for name, text in headers.items()}
            content = content.replace(spelling.encode(), "…".encode())
        return headers, content


def _budget(max_rps: float | None, loopback: bool, sleep: Callable[[float], object]) -> Budget:
    if max_rps is not None:
        return Budget(max_rps, ceiling=max_rps, sleep=sleep)
    return Budget(None, sleep=sleep) if loopback else Budget(sleep=sleep)


def _opened(**options: Any) -> httpx.Client:
    """An httpx client. What it finds wrong in the environment is told without values: a proxy's
    address may hold a password."""
    try:
        return httpx.Client(**options)
    except ImportError:
        problem = (
            "a SOCKS proxy is set and cannot be used: install httpx[socks], or change ALL_PROXY and "
            "HTTPS_PROXY"
        )
    except OSError as error:
        problem = f"the certificates cannot be read ({error.strerror or type(error).__name__}): check SSL_CERT_FILE and SSL_CERT_DIR"  # fmt: skip
    except (ValueError, httpx.InvalidURL):
        problem = "a proxy's address cannot be read: check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"
    raise Unreachable(problem)


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(10.0, seconds), pool=None)


_REFUSABLE = frozenset(
    {"access", "admin", "email", "teams", "totalCount", "totalSweeps", "usedCount"}
)
"""Fields that some keys may not read, or servers not count; an error at any other field is not taken as
"leave it out"."""


def _to_leave_out(error: GraphQLError | Forbidden) -> frozenset[str]:
    named = unknown_fields(error) if isinstance(error, GraphQLError) else frozenset()
    return frozenset(filter(operations.is_optional, named)) | error.fields & _REFUSABLE


def _is_rate(outcome: Wait) -> bool:
    return isinstance(outcome.error, RateLimited)


def backoff_s(attempt: int) -> float:
    """Seconds to wait after so many tries, where the server does not say."""
    return min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** (attempt - 1)) * random.uniform(1.0, 1.25)


def _silent(base_url: str, operation: str, seconds: float) -> RateLimited:
    return RateLimited(
        f"{operation}: not sent: {_host(base_url)} limits the rate (429) and does not want to be asked "
        f"for {seconds:.0f} s: run the command again later",
        retry_after_s=seconds,
        operation=operation,
    )


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
class _Fault(Exception):
    """No answer. `passing`: another try may mend it; `arrived`: the server may have seen the request."""

    message: str
    operation: str
    passing: bool = True
    arrived: bool = True

    def as_remote(self) -> RemoteError:
        """The error to raise: Unreachable where nothing can have arrived."""
        made = ServerFailed if self.arrived else Unreachable
        return made(self.message, operation=self.operation)


@contextmanager
def _translated(base_url: str, operation: str) -> Iterator[None]:
    """Turn every exception of httpx into ours; `from None`, since theirs carry the request."""
    try:
        yield
    except (
        httpx.HTTPError,
        httpx.InvalidURL,
        httpx.CookieConflict,
        httpx.StreamError,
        UnicodeError,
    ) as error:
        raise _fault(error, base_url, operation) from None
    except RuntimeError as error:  # the client was closed
        raise _Fault(f"{operation}: not sent: {error}", operation, passing=False, arrived=False) from None  # fmt: skip


def _fault(error: Exception, base_url: str, operation: str) -> _Fault:
    host = _host(base_url)
    said = str(error) or type(error).__name__
    unseen = {"arrived": False}
    if isinstance(error, httpx.ConnectError) and re.search(r"ssl|certificate|tls", said, re.I):
        text = (
            f"{host}: TLS failed ({said}): check base_url and this machine's clock; for a private "
            "certificate authority set SSL_CERT_FILE"
        )
        return _Fault(text, operation, passing=False, **unseen)
    if isinstance(error, httpx.ConnectError):
        text = f"{host} cannot be reached ({said}): check the network and base_url"
        return _Fault(text, operation, **unseen)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        text = f"{host} cannot be reached (no connection in time): check the network and base_url"
        return _Fault(text, operation, **unseen)
    if isinstance(error, httpx.ProxyError):
        text = f"{host}: the proxy refused ({said}): check HTTPS_PROXY and NO_PROXY"
        return _Fault(text, operation, **unseen)
    if isinstance(error, httpx.TimeoutException):
        text = f"{operation}: {host} did not answer in time: ask for less at once, or raise timeout under [sync]"  # fmt: skip
        return _Fault(text, operation)
    if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError | httpx.DecodingError):
        return _Fault(f"{operation}: the connection to {host} broke ({said})", operation)
    text = f"{operation}: base_url {base_url!r} cannot be used ({type(error).__name__}: {said})"
    return _Fault(text, operation, passing=False, **unseen)


def _host(base_url: str) -> str:
    """Host and port for a message, without user and password."""
    try:
        return urlsplit(base_url).netloc.rpartition("@")[2] or base_url
    except ValueError:
        return repr(base_url)


def _origin(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return parts.scheme, parts.hostname or "", port


def _is_loopback(base_url: str) -> bool:
    try:
        host = urlsplit(base_url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_IGNORED = re.compile(r'"""(?:\\"""|.)*?"""|"(?:\\.|[^"\\\n])*"|#[^\n]*', re.DOTALL)
"""Strings and comments of a document; a brace or a keyword in them means nothing."""


def _operation_name(document: str) -> str | None:
    match = re.search(r"\b(?:query|mutation)\s+(\w+)", _IGNORED.sub(" ", document))
    return match[1] if match else None


def _is_mutation(document: str) -> bool:
    """Whether a document holds a mutation, wherever in it."""
    depth = 0
    for token in re.findall(r"[{}]|\bmutation\b", _IGNORED.sub(" ", document)):
        if token == "mutation" and depth == 0:
            return True
        depth += {"{": 1, "}": -1}.get(token, 0)
    return False


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except (TypeError, orjson.JSONEncodeError):  # lone surrogates, integers beyond 64 bits
        return json.dumps(body).encode()
