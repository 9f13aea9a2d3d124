"""What a client finds around it, and how long it waits: proxies, certificates, limited rates."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from scripted import DATA, Say, Scripted

from mirror.errors import MirrorError, RateLimited, ServerFailed, Unreachable
from mirror.remote.budget import Budget
from mirror.remote.client import Client

KEY = "5ec12e7f" * 5
QUERY = "query Ask { viewer { id } }"
FAR = "https://far.invalid"


class Clock:
    """Time that passes only by sleeping, so that what is slept is what is waited."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def then_good(*first: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    left: Iterator[httpx.Response] = iter(first)
    return lambda request: next(left, None) or httpx.Response(200, json=DATA)


def patient(clock: Clock, *first: httpx.Response, **options: Any) -> Client:
    """A client of a server that gives these answers, then good ones."""
    budget = Budget(None, sleep=clock.sleep, clock=clock)
    transport = httpx.MockTransport(then_good(*first))
    return Client(FAR, KEY, sleep=clock.sleep, budget=budget, transport=transport, **options)


# ------------------------------------------------------------------ how long it waits


@pytest.mark.parametrize(
    ("status", "headers", "shortest", "longest"),
    [
        (429, {"retry-after": "7"}, 7, 7),
        (429, {"retry-after": "0.25"}, 0.25, 0.25),
        (429, {"ratelimit-reset": "12"}, 12, 12),
        (429, {"retry-after": "3", "ratelimit-reset": "12"}, 3, 3),
        (429, {}, 0.5, 0.63),
        (503, {"retry-after": "7"}, 7, 7),
        # The quota's reset says nothing about when a broken server is well again.
        (502, {"ratelimit-reset": "55", "ratelimit-remaining": "900"}, 0.5, 0.63),
        # "Now" is no reason to ask in a tight loop.
        (429, {"ratelimit-reset": "0"}, 0.5, 0.63),
        (429, {"retry-after": "0"}, 0.5, 0.63),
        (503, {"retry-after": "0"}, 0.5, 0.63),
    ],
)
def test_one_wait_is_as_long_as_it_was_told(
    clock: Clock, status: int, headers: dict[str, str], shortest: float, longest: float
) -> None:
    with patient(clock, httpx.Response(status, headers=headers)) as client:
        client.request_document(QUERY)
    assert shortest <= clock.now <= longest


@pytest.mark.parametrize("tries", [None, 1, 2, 3])
def test_a_limited_rate_is_waited_out_whatever_the_tries_of_a_page(
    clock: Clock, tries: int | None
) -> None:
    limited = [httpx.Response(429, headers={"retry-after": "1"}) for _ in range(8)]
    with patient(clock, *limited) as client:
        assert client.request_document(QUERY, tries=tries).data == DATA["data"]
    assert clock.now == 8


def test_a_page_that_fails_is_given_up_after_its_tries(clock: Clock) -> None:
    failing = [httpx.Response(500) for _ in range(8)]
    with patient(clock, *failing) as client, pytest.raises(ServerFailed, match="after 3 tries"):
        client.request_document(QUERY, tries=3)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_server_that_drips_is_given_up_like_one_that_is_silent(zipped: bool) -> None:
    drips = Say(drip_s=0.05, zipped=zipped)  # never silent for as long as the time-out
    with (
        Scripted(drips) as server,
        Client(server.url, KEY, timeout_s=0.1, tries=1) as client,
        pytest.raises(ServerFailed, match="did not answer in time"),
    ):
        client.request_document(QUERY)


def test_a_client_made_to_try_once_does(clock: Clock) -> None:
    with patient(clock, httpx.Response(429), tries=1) as client, pytest.raises(RateLimited):
        client.request_document(QUERY)
    assert clock.now == 0


# ------------------------------------------------------------------ what it finds around it


@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTPS_PROXY"])
@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("socks5://me:sesame@127.0.0.1:1", r"SOCKS.*httpx\[socks\].*ALL_PROXY"),
        ("nonsense://me:sesame@x", "a proxy's address cannot be read: check HTTPS_PROXY"),
        ("http://me:sesame@[::1", "a proxy's address cannot be read: check HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    variable: str, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    with pytest.raises(Unreachable, match=says) as caught:
        Client(FAR, KEY)
    assert "sesame" not in str(caught.value)
    assert caught.value.__context__ is None


def test_certificates_that_cannot_be_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(Unreachable, match=r"certificates cannot be read .*check SSL_CERT_FILE"):
        Client(FAR, KEY)


def test_this_machine_needs_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with Scripted() as server, Client(server.url, KEY) as client:
        assert client.request_document(QUERY).data == DATA["data"]


# ------------------------------------------------------------------ what it sends, and never tells


def test_admin_rights_are_asked_for_only_when_wanted() -> None:
    with Scripted() as server:
        for use_admin in (False, True):
            with Client(server.url, KEY, use_admin=use_admin) as client:
                client.request_document(QUERY)
        asked = [
            {name.lower(): value for name, value in heard.headers.items()} for heard in server.heard
        ]
    assert [headers.get("use-admin-privileges") for headers in asked] == [None, "true"]


def test_a_header_quoted_back_is_cut_out_of_the_message(clock: Clock) -> None:
    spelled = base64.b64encode(f"api:{KEY}".encode()).decode()
    answer = Say({"error": f"cannot read Authorization: Basic {spelled}"}, 400)
    with (
        Scripted(answer) as server,
        Client(server.url, KEY, sleep=clock.sleep) as client,
        pytest.raises(MirrorError, match="cannot read Authorization") as caught,
    ):
        client.request_document(QUERY)
    assert spelled not in str(caught.value)
