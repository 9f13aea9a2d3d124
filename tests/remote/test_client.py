"""The client against a real socket: retries, mutations, translation, redaction, old servers."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted import DATA, Heard, Say, Scripted

from mirror.errors import (
    Forbidden,
    GraphQLError,
    MirrorError,
    RateLimited,
    RemoteError,
    ServerFailed,
    TooLarge,
    Unauthorized,
    Unreachable,
)
from mirror.remote import client as client_module
from mirror.remote.budget import Budget
from mirror.remote.client import BACKOFF_MAX_S, RATE_TRIES, TRIES, WAIT_MAX_S, Client
from mirror.remote.operations import Count, Runs

KEY = "5ecre7" * 7
QUERY = "query Q { viewer { id } }"
MUTATION = "mutation M { stopRun(input: {id: 1}) { success } }"
OK = Say()


class Patience:
    """Stands in for time.sleep and notes how long it would have been."""

    def __init__(self) -> None:
        self.naps: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.naps.append(seconds)


@contextmanager
def asking(*script: Say | Callable[[Heard], Say], **options: Any) -> Iterator[tuple[Client, Scripted]]:  # fmt: skip
    """A client and the scripted server that it talks to; it sleeps in no time."""
    options.setdefault("sleep", Patience())
    with Scripted(*script) as server, Client(server.url, KEY, **options) as client:
        yield client, server


def capped(most: int, says: str) -> Callable[[Heard], Say]:
    """A server that refuses every page larger than `most`."""

    def answer(heard: Heard) -> Say:
        sizes = [size for size in heard.body["variables"].values() if isinstance(size, int)]
        if max(sizes) > most:
            return Say({"errors": [{"message": says}]}, 400)
        return OK

    return answer


# ------------------------------------------------------------------ the request


def test_a_request_is_what_the_contract_says() -> None:
    with asking() as (client, server):
        reply = client.request_document("query Q($a: Int) { viewer { id } }", {"a": 1})
        (heard,) = server.heard
    assert heard.path == "/graphql"
    assert heard.body == {
        "query": "query Q($a: Int) { viewer { id } }",
        "variables": {"a": 1},
        "operationName": "Q",
    }
    user, _, key = base64.b64decode(heard.headers["Authorization"].split()[1]).decode().partition(":")  # fmt: skip
    assert (user, key) == ("api", KEY)
    assert heard.headers["Content-Type"] == "application/json"
    assert reply.data == DATA["data"]
    assert reply.bytes == client.stats.bytes > 0
    assert reply.date == client.server_time


def test_without_a_key_nothing_is_sent_for_one() -> None:
    with Scripted() as server, Client(server.url, None) as client:
        client.execute("MirrorViewer")
        assert "Authorization" not in server.heard[0].headers
        assert repr(client) == f"<Client {server.url} without a key>"


def test_a_named_operation_is_sent_with_its_fragments_and_variables() -> None:
    with asking() as (client, server):
        client.execute("MirrorEntityProjects", entity="team", first=5, after=None)
        body = server.heard[0].body
    assert body["operationName"] == "MirrorEntityProjects"
    assert body["variables"] == {"entity": "team", "first": 5, "after": None}
    assert "fragment ProjectFields on Project" in body["query"]


def test_a_compressed_answer_counts_with_its_real_size() -> None:
    with asking(Say({"data": {"text": "x" * 10_000}}, zipped=True)) as (client, _):
        assert client.request_document(QUERY).bytes > 10_000


def test_text_that_is_no_text_travels_both_ways() -> None:
    with asking(Say(b'{"data": {"name": "\\ud800"}}')) as (client, server):
        assert client.request_document(QUERY, {"a": "\udfff", "b": 2**70}).data == {"name": "\ud800"}  # fmt: skip
        assert server.heard[0].body["variables"] == {"a": "\udfff", "b": 2**70}


# ------------------------------------------------------------------ tries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_trouble_is_waited_out(status: int) -> None:
    bad = Say({"error": "not now"}, status)
    with asking(bad, bad, OK) as (client, server):
        assert client.request_document(QUERY).data == DATA["data"]
        assert len(server.heard) == client.stats.requests == 3
        assert client.stats.retries == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422, 501])
def test_what_another_try_cannot_change_is_asked_once(status: int) -> None:
    with asking(Say({"error": "no"}, status), OK) as (client, server):
        with pytest.raises(RemoteError, match="no"):
            client.request_document(QUERY)
        assert len(server.heard) == 1


@pytest.mark.parametrize(
    "bad",
    [
        Say(cut="before"),
        Say(cut="within"),
        Say(b'{"data": {"vie'),
        Say(b""),
        Say({"data": None}),
        Say(b"not gzip", headers={"Content-Encoding": "gzip"}),
        Say({"errors": [{"message": "internal server error"}]}),
    ],
    ids=["dropped", "dropped within", "truncated", "empty", "no data", "broken gzip", "internal"],
)
def test_an_answer_that_broke_is_asked_for_again(bad: Say) -> None:
    with asking(bad, bad, OK) as (client, server):
        assert client.request_document(QUERY).data == DATA["data"]
        assert len(server.heard) == 3


@pytest.mark.parametrize(
    ("bad", "kind", "tries"),
    [
        (Say(status=503, body={"error": "down"}), ServerFailed, TRIES),
        (Say(cut="before"), ServerFailed, TRIES),
        (Say(status=429), RateLimited, RATE_TRIES),
    ],
    ids=["503", "dropped", "429"],
)
def test_patience_ends(bad: Say, kind: type[RemoteError], tries: int) -> None:
    patience = Patience()
    with asking(bad, sleep=patience) as (client, server):
        with pytest.raises(kind) as caught:
            client.request_document(QUERY)
        assert len(server.heard) <= tries
        assert f"after {len(server.heard)} tries" in str(caught.value)
    assert sum(patience.naps) <= WAIT_MAX_S


def test_the_back_off_grows_with_jitter_and_has_an_end() -> None:
    patience = Patience()
    options: dict[str, Any] = {"sleep": patience, "tries": 9, "wait_max_s": 1e9}
    with asking(Say(status=500), **options) as (client, _), pytest.raises(ServerFailed):
        client.request_document(QUERY)
    assert len(patience.naps) == 8
    for n, nap in enumerate(patience.naps):
        least = min(BACKOFF_MAX_S, 0.5 * 2**n)
        assert least <= nap <= least * 1.25


def test_retry_after_is_obeyed_to_the_second() -> None:
    patience = Patience()
    bad = Say(status=429, headers={"Retry-After": "7", "RateLimit-Remaining": "0", "RateLimit-Reset": "60"})  # fmt: skip
    budget = Budget(None, sleep=patience, clock=lambda: sum(patience.naps))
    with asking(bad, OK, sleep=patience, budget=budget) as (client, _):
        client.request_document(QUERY)
    assert patience.naps == [7.0]


def test_nobody_waits_an_hour() -> None:
    with asking(Say(status=429, headers={"Retry-After": "3600"})) as (client, server):
        with pytest.raises(RateLimited, match=r"once; the next may be made in 3600 s") as caught:
            client.request_document(QUERY)
        assert caught.value.retry_after_s == 3600
        assert len(server.heard) == 1


def test_nobody_asks_a_server_that_wants_an_hour_of_peace() -> None:
    with asking(Say(status=429, headers={"Retry-After": "3600"}), OK) as (client, server):
        for says in ("once; the next may be made in 3600 s", "not sent: .* for 3(600|599) s"):
            with pytest.raises(RateLimited, match=says):
                client.request_document(QUERY)
        assert len(server.heard) == 1


def test_a_caller_may_want_fewer_tries() -> None:
    with asking(Say(status=500)) as (client, server):
        with pytest.raises(ServerFailed, match="after 2 tries"):
            client.request_document(QUERY, tries=2)
        assert len(server.heard) == 2


# ------------------------------------------------------------------ mutations


@pytest.mark.parametrize(
    "bad",
    [Say(status=500), Say(status=502), Say(cut="before"), Say(cut="within"), Say(b"{")],
    ids=["500", "502", "dropped", "dropped within", "truncated"],
)
def test_a_mutation_that_may_have_arrived_is_not_sent_again(bad: Say) -> None:
    with asking(bad, OK) as (client, server):
        with pytest.raises(ServerFailed):
            client.request_document(MUTATION)
        assert len(server.heard) == 1


def test_a_mutation_that_was_turned_away_is() -> None:
    with asking(Say(status=429, headers={"Retry-After": "0"}), OK) as (client, server):
        assert client.request_document(MUTATION).data == DATA["data"]
        assert len(server.heard) == 2


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (MUTATION, True),
        ("mutation { a }", True),
        ("\ufeff# mutation\n mutation($x: Int) { a }", True),
        ("fragment F on Run { id }\nmutation M { a { ...F } }", True),
        ("query Q { a } mutation M { b }", True),
        (QUERY, False),
        ("{ mutation }", False),
        ("query Q { mutation { id } }", False),
        ('query Q { a(x: "} mutation {") }', False),
        ("# mutation\nquery Q { a }", False),
        ('query Q { a(x: """\n } mutation " \n""") }', False),
    ],
)
def test_a_mutation_is_recognised_wherever_it_stands(document: str, expected: bool) -> None:
    assert client_module._is_mutation(document) is expected


# ------------------------------------------------------------------ no answer at all


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _fails(base_url: str, **options: Any) -> RemoteError:
    with Client(base_url, KEY, sleep=Patience(), tries=2, **options) as client:
        with pytest.raises(RemoteError) as caught:
            client.request_document(QUERY)
        return caught.value


def test_a_refused_connection_names_host_and_remedy() -> None:
    port = _free_port()
    error = _fails(f"http://127.0.0.1:{port}")
    assert type(error) is Unreachable
    assert f"127.0.0.1:{port} cannot be reached" in str(error)
    assert "check the network and base_url" in str(error)
    assert "after 2 tries" in str(error)


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    # `.invalid` never resolves (RFC 2606), with or without a network.
    error = _fails("https://wandb.invalid")
    assert type(error) is Unreachable
    assert "wandb.invalid cannot be reached" in str(error)


def test_a_mutation_that_never_left_is_sent_again() -> None:
    port = _free_port()
    naps = Patience()
    client = Client(f"http://127.0.0.1:{port}", KEY, sleep=naps, tries=3)
    with client, pytest.raises(Unreachable, match="after 3 tries"):
        client.request_document(MUTATION)
    assert len(naps.naps) == 2


def test_plain_http_behind_https_is_a_tls_failure() -> None:
    with Scripted() as server:
        error = _fails(server.url.replace("http://", "https://"))
    assert type(error) is Unreachable
    assert "TLS failed" in str(error)
    assert "SSL_CERT_FILE" in str(error)
    assert "tries" not in str(error)


def test_a_certificate_of_nobody_is_a_tls_failure(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]  # fmt: skip
    try:
        subprocess.run(
            [*command, "-keyout", str(key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("makes a certificate with openssl, which is not here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands() -> None:
            connection, _ = listener.accept()
            # The client turns away, as it should.
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=shake_hands)
        thread.start()
        error = _fails(f"https://localhost:{listener.getsockname()[1]}")
        thread.join()
    assert type(error) is Unreachable
    assert "TLS failed" in str(error)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = _fails(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
    assert type(error) is ServerFailed
    assert "did not answer in time" in str(error)
    assert "raise timeout under [sync]" in str(error)


@pytest.mark.parametrize("base_url", ["ftp://host", "http://", "host", "http://a b", "http://\udcff", "http://[::1"])  # fmt: skip
def test_an_address_that_is_none_is_told(base_url: str) -> None:
    error = _fails(base_url)
    assert type(error) is Unreachable
    assert "base_url" in str(error)


def test_a_closed_client_says_so() -> None:
    with asking() as (client, _):
        client.close()
        with pytest.raises(RemoteError, match="closed"):
            client.request_document(QUERY)


def _classes(top: type[BaseException]) -> set[type[BaseException]]:
    return {top}.union(*(_classes(each) for each in top.__subclasses__()))


HTTPX = sorted(
    {
        found
        for name in dir(httpx)
        if isinstance(top := getattr(httpx, name), type) and issubclass(top, BaseException)
        for found in _classes(top)
        # The reply's own methods raise these, and we call none of them.
        if found.__module__.startswith("httpx") and found is not httpx.HTTPStatusError
    },
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("kind", HTTPX, ids=lambda kind: kind.__name__)
def test_no_exception_of_httpx_escapes(kind: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        if issubclass(kind, httpx.RequestError):
            raise kind("went wrong", request=request)
        raise kind() if issubclass(kind, httpx.StreamError) and not _takes_text(kind) else kind("went wrong")  # fmt: skip

    options: dict[str, Any] = {"transport": httpx.MockTransport(fail), "sleep": Patience()}
    client = Client("https://api.example.org", KEY, tries=2, **options)
    with client, pytest.raises(RemoteError) as caught:
        client.request_document(QUERY)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def _takes_text(kind: type[Exception]) -> bool:
    try:
        kind("text")
    except TypeError:
        return False
    return True


# ------------------------------------------------------------------ the key


CASES = {
    "quoted by the server": Say({"error": f"invalid api key {KEY}"}, 401),
    "quoted under 200": Say({"errors": [{"message": f"no user for {KEY}"}]}),
    "quoted in a page": Say(f"404 for {KEY}".encode(), 404),
    "redirected with it": Say(status=302, headers={"Location": f"https://x/?key={KEY}"}),
    "failed": Say({"error": KEY}, 500),
    "dropped": Say(cut="before"),
    "rate": Say({"error": KEY}, 429),
}


@pytest.mark.quotes_the_key
@pytest.mark.parametrize("say", CASES.values(), ids=CASES.keys())
def test_the_key_is_in_no_message_traceback_or_log(
    say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    encoded = base64.b64encode(f"api:{KEY}".encode()).decode()
    caplog.set_level(logging.DEBUG)
    if say.headers:  # at DEBUG, httpcore logs every header of an answer; ours never hold a key
        caplog.set_level(logging.INFO)
    with asking(say, tries=2) as (client, _):
        with pytest.raises(MirrorError) as caught:
            client.execute("MirrorViewer")
        frames = caught.value.with_traceback(caught.tb.tb_next)  # without this test's own variables
        shown = traceback.TracebackException.from_exception(frames, capture_locals=True)
        everything = "".join(shown.format()) + caplog.text + repr(client) + repr(vars(caught.value))
    for secret in (KEY, encoded):
        assert secret not in everything


def test_a_users_data_is_not_touched_even_if_it_holds_the_key() -> None:
    # The mirror keeps what the server has, word for word.
    with asking(Say({"data": {"config": KEY}})) as (client, _):
        assert client.request_document(QUERY).data == {"config": KEY}


def test_no_key_and_a_refusal_says_where_keys_come_from() -> None:
    wanted = "wants an API key and none was found: set WANDB_API_KEY"
    with (
        Scripted(Say({"error": "x"}, 401)) as server,
        Client(server.url, None) as client,
        pytest.raises(Unauthorized, match=wanted),
    ):
        client.execute("MirrorViewer")


# ------------------------------------------------------------------ older servers, narrower keys


def lacking(*fields: str, status: int = 200) -> Callable[[Heard], Say]:
    """A server that refuses documents with these fields, one at a time, as gqlparser does."""

    def answer(heard: Heard) -> Say:
        words = heard.body["query"].replace("{", " ").replace("}", " ").split()
        for field in fields:
            if field in words:
                message = f'Cannot query field "{field}" on type "Run".'
                return Say({"errors": [{"message": message}], "data": None}, status)
        return OK

    return answer


@pytest.mark.parametrize("status", [200, 400, 422])
def test_optional_fields_that_a_server_lacks_are_left_out_for_good(status: int) -> None:
    with asking(lacking("historyKeys", "storageBytes", "user", status=status)) as (client, server):
        with pytest.raises(GraphQLError, match="user"):  # no mirror can do without
            client.combined({"page": Runs()}, entity="a", project="b")
        assert client.fields_left_out == {"Run.historyKeys", "Run.storageBytes"}
        server.script = [lacking("historyKeys", "storageBytes")]
        before = len(server.heard)
        client.combined({"page": Runs(), "n": Count()}, entity="a", project="b")
        assert len(server.heard) == before + 1
        assert "historyLineCount" in server.heard[-1].body["query"]


@pytest.mark.parametrize(
    ("operation", "field", "message"),
    [
        ("MirrorViewer", "email", "permission denied"),
        ("ApiTypeCollections", "totalCount", "not implemented"),
    ],
)
def test_a_field_that_a_key_may_not_read_or_a_server_does_not_count_is_left_out(
    operation: str, field: str, message: str
) -> None:
    def answer(heard: Heard) -> Say:
        if field not in heard.body["query"].split():
            return OK
        error = {"message": message, "path": ["somewhere", 0, field]}
        return Say({"errors": [error], "data": {"viewer": None}})

    with asking(answer) as (client, _):
        client.execute(operation)
        assert client.fields_left_out == {field}


def test_trouble_at_a_field_of_runs_does_not_cost_the_field() -> None:
    error = {"message": "shard 7 is broken", "path": ["project", "page", "edges", 0, "node", "systemMetrics"]}  # fmt: skip
    with asking(Say({"errors": [error]})) as (client, _):
        with pytest.raises(GraphQLError, match="shard 7"):
            client.combined({"page": Runs()}, entity="a", project="b")
        assert client.fields_left_out == frozenset()


def test_a_refusal_without_a_field_is_raised() -> None:
    with asking(Say({"errors": [{"message": "permission denied"}]})) as (client, server):
        with pytest.raises(Forbidden):
            client.execute("MirrorViewer")
        assert len(server.heard) == 1


# ------------------------------------------------------------------ pace and threads


def test_loopback_is_not_paced_and_the_world_is() -> None:
    with Client("http://127.0.0.1:1", KEY) as near, Client("http://localhost:1", KEY) as local:
        assert near._budget.rate is None
        assert local._budget.rate is None
    with Client("https://api.wandb.ai", KEY) as far, Client("http://[::1]:1", KEY, max_rps=3) as set_:  # fmt: skip
        assert far._budget.rate == 1.0
        assert set_._budget.rate == 3.0


def test_proxies_do_not_come_between_us_and_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{_free_port()}")
    with asking() as (client, _):
        assert client.request_document(QUERY).data == DATA["data"]


def test_one_client_serves_many_threads() -> None:
    def echo(heard: Heard) -> Say:
        return Say({"data": {"n": heard.body["variables"]["n"]}})

    seen: list[int] = []
    with asking(echo, on_request=lambda reply: seen.append(reply.bytes)) as (client, _):
        with ThreadPoolExecutor(24) as pool:  # more than there are connections
            answers = list(
                pool.map(lambda n: client.request_document(QUERY, {"n": n}).data["n"], range(300))
            )
        assert answers == list(range(300))
        assert client.stats.requests == len(seen) == 300
        assert client.stats.bytes == sum(seen)


def test_a_field_is_learned_once_by_all_threads() -> None:
    with asking(lacking("historyKeys")) as (client, server):
        with ThreadPoolExecutor(8) as pool:
            work = [pool.submit(client.combined, {"page": Runs()}, entity="a", project="b") for _ in range(40)]  # fmt: skip
            for each in work:
                assert each.result().data == DATA["data"]
        assert len(server.heard) <= 40 + 8


# ------------------------------------------------------------------ the size of pages


def test_a_server_that_says_how_large_a_page_may_be_is_asked_for_that_from_then_on() -> None:
    with asking(capped(40, "first must be at most 40")) as (client, server):
        client.combined({"page": Runs(first=1000)}, entity="e", project="p")
        client.execute("MirrorViews", entity="e", project="p", first=500)
        client.execute("MirrorLinksOfRun", entity="e", project="p", run="r", first=1000)
        sizes = [heard.body["variables"] for heard in server.heard]
    assert [each.get("first", each.get("pageFirst")) for each in sizes] == [1000, 40, 40, 40]


def test_a_server_that_says_no_number_is_asked_for_half_until_it_answers() -> None:
    with asking(capped(40, "first is too large")) as (client, server):
        client.execute("MirrorFilesOfRuns", entity="e", project="p", filters="{}", first=100)
        client.execute("MirrorFilesOfRuns", entity="e", project="p", filters="{}", first=100)
        sizes = [(v["first"], v.get("files")) for v in (one.body["variables"] for one in server.heard)]  # fmt: skip
    assert sizes == [(100, None), (100, 100), (50, 50), (25, 25), (25, 25)]


def test_a_server_that_refuses_a_page_of_one_is_told_of() -> None:
    with (
        asking(capped(0, "first is too large")) as (client, server),
        pytest.raises(TooLarge, match="so much at once"),
    ):
        client.execute("MirrorViews", entity="e", project="p", first=4)
    assert [heard.body["variables"]["first"] for heard in server.heard] == [4, 2, 1]
