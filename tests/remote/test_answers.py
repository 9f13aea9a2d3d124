"""What an answer means: one table over status, headers and body."""

from __future__ import annotations

import email.utils
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from mirror.remote.answers import FINAL, Wait, classify, server_date, unknown_fields

DATA = {"data": {"viewer": None}}
HTML = b"<!doctype html><html><title>Sign in</title></html>"


def meaning(
    body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> dict[str, Any] | Wait | RemoteError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify("Op", status, headers or {}, content)


def errors(*items: Any, data: Any = None) -> dict[str, Any]:
    return {"errors": list(items), "data": data}


# status, body → the class, whether it is worth another try, a part of the sentence
@pytest.mark.parametrize(
    ("status", "body", "kind", "again", "says"),
    [
        # The four envelopes, under 200 and with a status of their own.
        (200, errors({"message": "no such thing"}), GraphQLError, False, "Op: the server answered: no such thing"),
        (200, errors("Server down"), GraphQLError, False, "Server down"),
        (200, {"error": "bad"}, GraphQLError, False, "bad"),
        (200, {"error": {"message": "bad"}}, GraphQLError, False, "bad"),
        (200, {"errors": "bad"}, GraphQLError, False, "bad"),
        (200, {"errors": {"message": "bad"}}, GraphQLError, False, "bad"),
        (200, errors({"message": "one"}, {"message": "two"}), GraphQLError, False, "one; two"),
        (200, errors({}), GraphQLError, False, "error without a message"),
        (200, errors({"message": "partly"}, data={"project": {}}), GraphQLError, False, "partly"),
        (400, {"error": "bad filter"}, GraphQLError, False, "bad filter"),
        (404, errors({"message": "unknown trigger"}), GraphQLError, False, "unknown trigger"),
        (409, {"error": {"message": "name exists"}}, GraphQLError, False, "name exists"),
        (410, {"error": "gone"}, GraphQLError, False, "gone"),
        (422, errors({"message": 'Cannot query field "x" on type "Run".'}), GraphQLError, False, "Cannot query"),
        # The key and its rights.
        (401, {"error": "who?"}, Unauthorized, False, "refused the API key (401): who?"),
        (401, b"", Unauthorized, False, "refused the API key (401)"),
        (401, HTML, Unauthorized, False, "mirror doctor"),
        (200, errors({"message": "Invalid API key"}), Unauthorized, False, "refused the API key"),
        (200, errors({"message": "user is not logged in"}), Unauthorized, False, "refused the API key"),
        (403, {"error": "no"}, Forbidden, False, "does not let this key do that (403): no"),
        (200, errors({"message": "permission denied"}), Forbidden, False, "permission denied"),
        (403, HTML, Unreachable, False, "a web page instead of W&B's answer: a proxy or firewall"),
        # Passing trouble.
        (429, {"error": "Rate limit exceeded"}, RateLimited, True, "limits the rate"),
        (429, HTML, RateLimited, True, "limits the rate"),
        (200, errors({"message": "rate limit exceeded"}), RateLimited, True, "limits the rate"),
        (500, {"error": "oh"}, ServerFailed, True, "failed (500): oh"),
        (502, HTML, ServerFailed, True, "failed (502)"),
        (503, b"", ServerFailed, True, "failed (503)"),
        (504, errors("slow"), ServerFailed, True, "slow"),
        (408, b"", ServerFailed, True, "failed (408)"),
        (418, b"", ServerFailed, True, "failed (418)"),
        (599, b"", ServerFailed, True, "failed (599)"),
        (200, errors({"message": "internal server error"}), ServerFailed, True, "internal server error"),
        (200, errors({"message": "context deadline exceeded"}), ServerFailed, True, "deadline"),
        (200, errors({"message": "request timed out"}), ServerFailed, True, "timed out"),
        (501, {"error": "not here"}, ServerFailed, False, "cannot do that (501): not here"),
        # Too much at once.
        (413, b"", TooLarge, False, "refuses so much at once (413)"),
        (413, HTML, TooLarge, False, "page_size_max"),
        (400, errors({"message": "page size 5000 exceeds the maximum of 1000"}), TooLarge, False, "page size"),
        (200, errors({"message": "operation has complexity 9000, which exceeds the limit of 1000"}), TooLarge, False, "complexity"),
        (400, errors({"message": "first must be at most 50"}), TooLarge, False, "at most 50"),
        (200, errors({"message": "'first' is too large"}), TooLarge, False, "too large"),
        (400, errors({"message": "Requesting 1000 records exceeds the `first` limit of 100 records."}), TooLarge, False, "100"),
        # Not whole.
        (200, b"", ServerFailed, True, "(0 bytes, status 200) is not whole JSON"),
        (200, b'{"data": {"viewer"', ServerFailed, True, "is not whole JSON"),
        (200, b"\xff\xfe", ServerFailed, True, "is not whole JSON"),
        (200, b"[" * 5000, ServerFailed, True, "is not whole JSON"),
        (200, {"data": None}, ServerFailed, True, "holds no data"),
        (200, {}, ServerFailed, True, "holds no data"),
        (200, [], ServerFailed, True, "holds no data"),
        (200, {"data": []}, ServerFailed, True, "holds no data"),
        # Something else answers at this address.
        (200, HTML, Unreachable, False, "answers 200 and a web page instead of W&B's answer: set base_url"),
        (404, b"404 page not found", Unreachable, False, "the text '404 page not found'"),
        (404, HTML, Unreachable, False, "a web page"),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", Unreachable, False, "Client sent an HTTP request"),
        (404, b"\x00\x01", Unreachable, False, "nothing readable"),
        (407, HTML, Unreachable, False, "a proxy on the way asks for credentials"),
    ],
)  # fmt: skip
def test_an_answer_means(
    status: int, body: Any, kind: type[RemoteError], again: bool, says: str
) -> None:
    found = meaning(body, status)
    error = found.error if isinstance(found, Wait) else found
    assert isinstance(found, Wait) is again
    assert type(error) is kind
    assert says in str(error)
    assert error.operation == "Op"
    assert error.status in (status, 429)  # type: ignore[union-attr]


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("body", [b"", HTML, b'{"error": "x"}', b'{"errors": [{"message": "x"}]}'])
def test_some_statuses_are_never_tried_again(status: int, body: bytes) -> None:
    assert not isinstance(meaning(body, status), Wait)


@pytest.mark.parametrize("status", sorted(set(range(400, 600)) - FINAL - {407}))
def test_every_other_status_is(status: int) -> None:
    assert isinstance(meaning(b"", status), Wait)


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("https://api.example.org/graphql", "set base_url to https://api.example.org"),
        ("https://example.org/login", "set base_url to the address of the API itself"),
        ("/login", "(302) to '/login'"),
        ("", "to 'elsewhere'"),
    ],
)
def test_a_redirect_says_where_to(location: str, says: str) -> None:
    found = meaning(b"", 302, {"location": location} if location else {})
    assert isinstance(found, Unreachable)
    assert says in str(found)


# ------------------------------------------------------------------ data


@pytest.mark.parametrize(
    ("content", "data"),
    [
        (b'{"data": {"a": 1}}', {"a": 1}),
        (b'{"data": {"a": 1}, "errors": null}', {"a": 1}),
        (b'{"data": {"a": 1}, "errors": []}', {"a": 1}),
        (b'{"data": {"viewer": null}}', {"viewer": None}),
        (b'{"data": {"a": "\\ud800"}}', {"a": "\ud800"}),  # half of a pair
        (b'{"data": {"a": "x\ny"}}', {"a": "x\ny"}),  # a raw control character
        (b'{"data": {"a": Infinity}}', {"a": float("inf")}),
        (b'{"data": {"a": 9007199254740993}}', {"a": 9007199254740993}),
    ],
)
def test_data_is_read_tolerantly(content: bytes, data: dict[str, Any]) -> None:
    assert meaning(content) == data


@given(st.binary(max_size=60), st.integers(100, 599))
def test_nothing_a_server_sends_escapes_as_another_error(content: bytes, status: int) -> None:
    found = classify("Op", status, {"content-type": "x"}, content)
    assert isinstance(found, dict | Wait | MirrorError)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "errors", "error", "message", "path"]), inner)
    ),
    max_leaves=8,
)


@given(_json, st.sampled_from([200, 302, 400, 401, 429, 500]))
def test_nor_any_shape_of_json(body: Any, status: int) -> None:
    found = meaning(body, status)
    assert isinstance(found, dict | Wait | MirrorError)
    assert not isinstance(found, dict) or status < 300


# ------------------------------------------------------------------ how long to wait

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _date(seconds: float) -> str:
    return email.utils.format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (429, {"retry-after": "0.25"}, 0.25),
        (429, {"retry-after": "0", "ratelimit-reset": "60"}, 0.0),
        (429, {"retry-after": "-3"}, 0.0),
        # A date counts from the server's clock, which may differ from ours by years.
        (429, {"retry-after": _date(90), "date": _date(0)}, 90.0),
        (429, {"retry-after": _date(-90), "date": _date(0)}, 0.0),
        (429, {"retry-after": "soon", "ratelimit-reset": "4"}, 4.0),
        (429, {"retry-after": "inf"}, None),
        (429, {"retry-after": "nan"}, None),
        (429, {"retry-after": "7", "ratelimit-reset": "60"}, 7.0),
        (429, {"ratelimit-reset": "12.5"}, 12.5),
        (429, {}, None),
        (503, {"retry-after": "7"}, 7.0),
        # RateLimit headers come with every answer; only a 429 is about them.
        (503, {"ratelimit-reset": "60"}, None),
        (500, {}, None),
    ],
)
def test_the_wait_is_what_the_server_asks_for(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    found = meaning(b"", status, headers)
    assert isinstance(found, Wait)
    assert found.seconds == seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thu, 01 Jan 2026 00:00:05 GMT", "2026-01-01T00:00:05Z"),
        ("Thu, 01 Jan 2026 02:00:05 +0200", "2026-01-01T00:00:05Z"),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_servers_clock_is_read(text: str, expected: str | None) -> None:
    assert server_date({"date": text}) == expected


# ------------------------------------------------------------------ which field


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ('Cannot query field "historyKeys" on type "Run".', {"Run.historyKeys"}),
        ('Cannot query field "pinned" on type "Run". Did you mean "pin"?', {"Run.pinned"}),
        ("Cannot query field 'x' on type 'Run'.", {"Run.x"}),
        ('Cannot query field "x".', {"x"}),
        ("Cannot return null for non-nullable field Run.stopped.", {"Run.stopped"}),
        ("something else", set()),
    ],
)
def test_a_field_that_the_server_lacks_is_recognised(message: str, field: set[str]) -> None:
    assert unknown_fields(GraphQLError("Op", [message])) == field


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('Cannot query field "historyKeys" on type "Run".', True),
        ('Unknown argument "filters" on field "Project.sweeps".', True),
        ('Unknown type "JSONString".', True),
        ("bad filter", False),
        ("Variable $first got invalid value", False),
    ],
)
def test_an_older_server_is_told_from_a_bad_request(message: str, expected: bool) -> None:
    assert GraphQLError("Op", ["first", message]).is_validation is expected


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (["viewer", "email"], {"email"}),
        (["project", "runs", "edges", 0], set()),
        ([], set()),
        ("viewer", set()),
        (None, set()),
    ],
)
def test_an_error_says_at_which_field_it_arose(path: Any, fields: set[str]) -> None:
    for message in ("permission denied", "no"):
        found = meaning(errors({"message": message, "path": path}))
        assert isinstance(found, RemoteError)
        assert found.fields == fields


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("first must be at most 50", 50),
        ("page size 5000 exceeds the maximum of 1000", 1000),
        ("Requesting 1000 records exceeds the `first` limit of 100 records.", 100),
        ("first must be between 1 and 100", 100),
        ("first (1000) must be less than or equal to 250", 250),
        ("first is too large", None),
        ("operation has complexity 9000, which exceeds the limit of 1000", None),
    ],
)
def test_a_refusal_of_a_page_says_how_large_one_may_be(said: str, most: int | None) -> None:
    found = meaning(errors({"message": said}), 400)
    assert isinstance(found, TooLarge)
    assert found.most == most
