"""Downloads of entries: what is asked for, what is not, and what is left when something breaks."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
import xxhash
from host import Get, Host, entry_of, md5

from mirror.blobs import BlobStore, Entry, Progress
from mirror.errors import (
    ContentError,
    DigestMismatch,
    NotFound,
    RateLimited,
    RemoteError,
    ServerFailed,
    Unauthorized,
    UnsafeName,
)
from mirror.remote.client import Client

BODY = bytes(range(256)) * 1000


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def nothing_but(folder: Path, files: dict[str, bytes]) -> bool:
    """No half file, no temporary file, no link."""
    return files_below(folder) == files and not any(p.is_symlink() for p in folder.rglob("*"))


def test_a_folder_gets_every_file_and_a_second_one_costs_no_request(
    host: Host, client: Client, get: Get, blobs: BlobStore, tmp_path: Path
) -> None:
    host.files = {f"d{i % 3}/f{i}": os.urandom(10 + i) for i in range(30)}
    first = get()
    assert (first.files, first.fetched) == (30, 30)
    assert nothing_but(tmp_path / "out", host.files)
    assert len(host.asked) == 30
    assert len(host.addresses_asked) == 1
    requests = client.stats.requests
    again = get(root=tmp_path / "other")
    same = get()
    assert (again.files, again.fetched, same.files, same.fetched) == (30, 0, 30, 0)
    assert nothing_but(tmp_path / "other", host.files)
    assert len(host.asked) == 30
    assert len(host.addresses_asked) == 1
    assert client.stats.requests == requests
    assert blobs.size().files == 30


def test_no_client_is_opened_for_what_is_here(host: Host, get: Get, tmp_path: Path) -> None:
    host.files = {"a": BODY}
    get()

    def opened() -> Client:
        raise AssertionError("opened")

    assert get(root=tmp_path / "other", client=opened).files == 1


def test_equal_contents_are_fetched_once(host: Host, get: Get, blobs: BlobStore, tmp_path: Path) -> None:  # fmt: skip
    host.files = {"v0/a": BODY, "v1/a": BODY, "b": BODY}
    done = get()
    assert (done.files, done.fetched, done.fetched_bytes) == (3, 1, len(BODY))
    assert nothing_but(tmp_path / "out", host.files)
    assert blobs.size().files == 1


def test_the_key_goes_to_the_api_only(host: Host, get: Get) -> None:
    host.files = {"signed": b"1", "own": b"2"}
    get([entry_of("signed", b"1")])
    get([entry_of("own", b"2")], urls=lambda entries: {e.path: f"/{e.path}" for e in entries})
    keys = {path: key for path, _range, key in host.asked}
    assert keys["signed"] is None
    assert (keys["own"] or "").startswith("Basic ")


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        (["cut"], [None, "half"]),
        (["short"], [None, "half"]),
        (["cut", "cut", "cut", "cut", "cut"], [None, "half", "more", "more", "more", "more"]),
        ([503], [None, None]),
        (["cut", 500, 502], [None, "half", "half", "half"]),
        (["cut", "norange"], [None, "half"]),
        (["cut", "wrong"], [None, "half", None]),
        (["cut", 416], [None, "half", None]),
    ],
    ids=str,
)
def test_a_download_goes_on_where_it_broke(
    host: Host, get: Get, tmp_path: Path, faults: list[int | str], ranges: list[str | None]
) -> None:
    host.files, host.faults = {"a": BODY}, [*faults]
    done = get()
    assert done.files == 1
    assert nothing_but(tmp_path / "out", host.files)
    asked = [given for _path, given, _key in host.asked]
    half = f"bytes={len(BODY) // 2}-"
    assert [None if one is None else "half" if one == half else "more" for one in asked] == ranges


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        (["wrong"], DigestMismatch),
        (["cut", "wrong", "wrong"], DigestMismatch),
        ([500] * 6, ServerFailed),
        ([403, 403], Unauthorized),
        ([404, 410], NotFound),
    ],
    ids=str,
)
def test_what_cannot_be_had_leaves_nothing_half(
    host: Host, get: Get, blobs: BlobStore, tmp_path: Path, faults: list[int | str],
    error: type[Exception],
) -> None:  # fmt: skip
    host.files, host.faults = {"a": BODY}, [*faults]
    with pytest.raises(error) as raised:
        get()
    assert "signature" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert nothing_but(tmp_path / "out", {})
    assert blobs.size().files == 0
    assert get().files == 1  # and the next try is not spoilt by this one
    assert nothing_but(tmp_path / "out", host.files)


def test_a_body_longer_than_the_manifest_says_is_cut_off(host: Host, get: Get, blobs: BlobStore) -> None:  # fmt: skip
    host.files = {"a": BODY * 20}
    with pytest.raises(DigestMismatch, match="more than that"):
        get([Entry("a", md5(BODY), len(BODY))])
    assert blobs.size().incoming == 0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_an_expired_address_is_asked_for_once_more(
    host: Host, get: Get, tmp_path: Path, status: int
) -> None:
    host.files, host.faults = {"a": BODY}, [status]
    get()
    assert host.addresses_asked == [["a"], ["a"]]
    assert nothing_but(tmp_path / "out", host.files)


def test_addresses_that_expire_together_are_asked_for_together(host: Host, get: Get) -> None:
    host.files = {f"f{i:03}": os.urandom(20) for i in range(40)}
    host.faults = [403]
    get(threads=1)
    assert len(host.addresses_asked) == 2
    assert len(host.addresses_asked[1]) == 40


def test_the_fallback_is_used_when_the_new_address_fails_too(host: Host, get: Get) -> None:
    host.files, host.faults = {"a": BODY}, [403, 403]
    get(fallback=lambda entry: f"/{entry.path}")
    assert [bool(key) for _path, _range, key in host.asked] == [False, False, True]


def test_a_file_without_an_address_is_told(host: Host, get: Get) -> None:
    with pytest.raises(NotFound, match="no address for 'gone'"):
        get([entry_of("gone", BODY)])


def test_a_limited_rate_is_waited_for(host: Host, get: Get) -> None:
    host.files, host.faults, host.headers = {"a": BODY}, [429], {"Retry-After": "0.01"}
    assert get().files == 1
    host.files["b"] = b"b"
    host.faults, host.headers = [429], {"Retry-After": "3600"}
    with pytest.raises(RateLimited, match="429"):
        get()


def test_names_are_judged_before_anything_is_asked(host: Host, get: Get, tmp_path: Path) -> None:
    host.files = {"good": BODY, "../evil": BODY}
    with pytest.raises(UnsafeName, match="upwards"):
        get()
    assert host.asked == []
    assert host.addresses_asked == []
    assert nothing_but(tmp_path / "out", {})
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("there", ["older", "edited", "same size", "a link"])
def test_other_contents_in_the_folder_are_replaced(host: Host, get: Get, tmp_path: Path, there: str) -> None:  # fmt: skip
    host.files = {"a": BODY}
    get()
    target = tmp_path / "out" / "a"
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    if there == "a link":
        target.unlink()
        target.symlink_to(outside)
    else:
        target.write_bytes({"older": b"old", "edited": BODY + b"!", "same size": BODY[::-1]}[there])
    (tmp_path / "out" / "notes").write_text("mine")
    assert get().fetched == 0
    assert nothing_but(tmp_path / "out", {"a": BODY, "notes": b"mine"})
    assert outside.read_bytes() == b"mine"


def test_a_file_that_somebody_else_put_there_is_known_by_its_digest(host: Host, get: Get, tmp_path: Path) -> None:  # fmt: skip
    host.files = {"a": BODY}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(BODY)
    assert get().fetched == 0
    assert host.asked == []


def test_a_folder_and_a_file_of_one_name_skip_the_file(host: Host, get: Get, tmp_path: Path) -> None:  # fmt: skip
    host.files = {"a": BODY, "b/c": b"c", "d": b"d"}
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "b").write_bytes(b"a file")
    done = get()
    assert {each.entry.path for each in done.skipped} == {"a", "b/c"}
    assert done.files == 1


@pytest.mark.parametrize("quota", [None, 1000])
def test_contents_that_are_not_kept_are_still_whole(
    host: Host, get: Get, blobs: BlobStore, tmp_path: Path, quota: int | None
) -> None:
    host.files, host.faults = {"big": BODY, "small": b"s"}, ["cut"]
    blobs.quota_bytes = quota
    done = get(skip_cache=quota is None, threads=1)
    assert done.files == 2
    assert nothing_but(tmp_path / "out", host.files)
    assert blobs.size().files == (0 if quota is None else 1)


def test_a_quota_smaller_than_the_artifact_still_downloads_it(host: Host, get: Get, blobs: BlobStore, tmp_path: Path) -> None:  # fmt: skip
    host.files = {f"f{i}": os.urandom(100) for i in range(30)}
    blobs.quota_bytes = 450
    get()
    assert nothing_but(tmp_path / "out", host.files)
    assert 0 < blobs.size().bytes <= 450


def test_progress_ends_at_the_total(host: Host, get: Get) -> None:
    host.files, host.faults = {"a": BODY, "b": b"b", "c": b"b"}, ["cut"]
    seen: list[Progress] = []
    get(on_progress=seen.append)
    assert seen[-1].files == seen[-1].files_total == 3
    assert seen[-1].bytes == seen[-1].bytes_total == len(BODY) + 1
    assert all(step.bytes <= step.bytes_total for step in seen)


def test_a_digest_of_the_newer_kind_is_checked_with_it(host: Host, get: Get, tmp_path: Path) -> None:  # fmt: skip
    host.files = {"a": BODY}
    digest = base64.b64encode(xxhash.xxh128(BODY).digest()).decode()
    get([Entry("a", digest, len(BODY), extra={"alg": "XXH128"})])
    assert nothing_but(tmp_path / "out", host.files)
    with pytest.raises(DigestMismatch):
        get([Entry("b", digest, len(BODY))], urls=lambda _entries: {"b": "/a"})


# ------------------------------------------------------------------ references


def test_references_are_recorded_and_not_fetched_unless_asked(host: Host, get: Get, tmp_path: Path) -> None:  # fmt: skip
    host.files = {"a": BODY, "there": b"elsewhere"}
    reference = Entry("ref", "etag", 9, ref=f"{host.url}/there")
    done = get([entry_of("a", BODY), reference])
    assert done.references == [reference]
    assert nothing_but(tmp_path / "out", {"a": BODY})
    assert [path for path, _range, _key in host.asked] == ["a"]
    host.headers = {"ETag": '"etag"'}
    assert get([reference], references=True).references == []
    assert nothing_but(tmp_path / "out", {"a": BODY, "ref": b"elsewhere"})
    assert host.asked[-1] == ("there", None, None)  # no key, though it is the API's own host


def test_a_local_reference_is_copied_and_checked(get: Get, tmp_path: Path) -> None:
    source = tmp_path / "has a space"
    source.write_bytes(BODY)
    get([Entry("ref", md5(BODY), None, ref=source.as_uri())], references=True)
    assert nothing_but(tmp_path / "out", {"ref": BODY})
    with pytest.raises(DigestMismatch):
        get([Entry("other", md5(b"x"), None, ref=source.as_uri())], references=True)


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        ("s3://bucket/key?versionId=1", ContentError),
        ("gs://bucket/key", ContentError),
        ("file:///no/such/file", FileNotFoundError),
        ("{host}/missing", NotFound),
    ],
)
def test_a_reference_that_cannot_be_fetched_is_told_or_left_out(
    host: Host, get: Get, tmp_path: Path, ref: str, error: type[Exception]
) -> None:
    entry = Entry("ref", "etag", None, ref=ref.format(host=host.url))
    with pytest.raises(error):
        get([entry], references=True)
    done = get([entry], references=True, allow_missing_references=True)
    assert [each.entry for each in done.skipped] == [entry]
    assert nothing_but(tmp_path / "out", {})


def test_a_failure_ends_the_rest_and_what_is_whole_stays(host: Host, get: Get, blobs: BlobStore) -> None:  # fmt: skip
    host.files = {f"f{i:02}": os.urandom(50) for i in range(30)}
    bad = Entry("f00", md5(b"other"), 50)
    good = [entry_of(path, body) for path, body in host.files.items() if path != "f00"]
    with pytest.raises((DigestMismatch, RemoteError)):
        get([*good[:5], bad, *good[5:]], threads=2)
    assert len(host.asked) < 30
    assert 0 < blobs.size().files < 30
