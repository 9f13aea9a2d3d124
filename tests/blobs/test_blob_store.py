"""The store of contents: what gets in, what gets out, what is evicted."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash
from host import md5

from mirror.blobs import BlobStore, digest_of
from mirror.blobs.place import SMALL_BYTES
from mirror.errors import ContentError, DigestMismatch, NoRoom

A, B, C = b"first contents", b"the second", b"a third one"


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_here_and_read_only(blobs: BlobStore) -> None:
    assert not blobs.has(md5(A))
    path = blobs.put(md5(A), [A[:3], A[3:]], size=len(A))
    assert blobs.has(md5(A))
    assert blobs.has(md5(A), len(A))
    assert not blobs.has(md5(A), len(A) + 1)
    assert path.read_bytes() == A
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0
    assert everything(blobs.folder) == [path]


def test_what_is_here_is_not_read_again(blobs: BlobStore) -> None:
    blobs.put(md5(A), [A])

    def unread() -> Iterator[bytes]:
        raise AssertionError("read")
        yield b""

    blobs.put(md5(A), unread())


@pytest.mark.parametrize(
    ("body", "size", "found"),
    [
        (A + b"!", len(A), "more than that"),
        (A[:-1], len(A), "13 bytes"),
        (bytes(len(A)), len(A), "digest"),
        (A + b"!", None, "digest"),
        (b"", None, "digest"),
    ],
)
def test_other_bytes_are_refused_and_nothing_is_left(
    blobs: BlobStore, body: bytes, size: int | None, found: str
) -> None:
    with pytest.raises(DigestMismatch, match=found):
        blobs.put(md5(A), [body], size=size)
    assert not blobs.has(md5(A))
    assert everything(blobs.folder) == []


def test_the_empty_file_has_a_digest_too(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put(md5(b""), [], size=0)
    blobs.place(md5(b""), tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


@pytest.mark.parametrize("digest", ["", "0", "../../etc/passwd", "a" * 24, "YWJj", "é", "\0", md5(A) + "x"])  # fmt: skip
def test_a_text_that_is_no_digest_names_nothing(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(ContentError, match="is no digest"):
        blobs.has(digest)
    with pytest.raises(ContentError, match="is no digest"):
        blobs.put(digest, [A])
    assert not blobs.folder.exists()


def test_digests_of_both_kinds_are_kept_apart(blobs: BlobStore, tmp_path: Path) -> None:
    digest = base64.b64encode(xxhash.xxh128(A).digest()).decode()
    blobs.put(digest, [A], size=len(A), algorithm="xxh128")
    assert blobs.has(digest, algorithm="xxh128")
    assert not blobs.has(digest)
    blobs.place(digest, tmp_path / "x", algorithm="xxh128")
    assert digest_of(tmp_path / "x", "xxh128") == digest
    assert [*blobs.verify()] == []


def test_a_kind_of_digest_that_is_not_known_is_told(blobs: BlobStore) -> None:
    with pytest.raises(ContentError, match="'sha3' are not known"):
        blobs.has(md5(A), algorithm="sha3")


@pytest.fixture(params=["as on Linux", "as on a Mac"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This system, and one that has neither files without a name nor copies by the kernel."""
    if request.param == "as on a Mac":
        for name in ("O_TMPFILE", "O_PATH", "copy_file_range"):
            monkeypatch.delattr(os, name, raising=False)


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("link", ["copy", "hardlink"])
@pytest.mark.parametrize("there", ["nothing", "a file", "a link", "a read-only file", "the same"])
def test_a_file_is_placed_over_what_is_there(tmp_path: Path, link: str, there: str) -> None:
    blobs = BlobStore(tmp_path / "blobs", link=link)
    blobs.put(md5(A), [A])
    target, other = tmp_path / "target", tmp_path / "other"
    other.write_bytes(B)
    if there == "a link":
        target.symlink_to(other)
    elif there == "the same":
        blobs.place(md5(A), target)
    elif there != "nothing":
        target.write_bytes(B)
        target.chmod(0o644 if there == "a file" else 0o444)
    blobs.place(md5(A), target)
    assert target.read_bytes() == A
    assert not target.is_symlink()
    assert other.read_bytes() == B
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blobs", "other", "target"]
    assert target.samefile(blobs.path(md5(A))) == (link == "hardlink")
    assert bool(target.stat().st_mode & 0o200) == (link == "copy")


@pytest.mark.usefixtures("system")
def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    for link in ("copy", "hardlink"):
        blobs = BlobStore(tmp_path / link, link=link)
        blobs.put(md5(A), [A])
        (tmp_path / "target").mkdir(exist_ok=True)
        with pytest.raises(IsADirectoryError):
            blobs.place(md5(A), tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "hardlink", "target"]


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("size", [0, 1, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1])
def test_a_copy_of_any_size_is_whole_and_sealed(
    blobs: BlobStore, tmp_path: Path, size: int
) -> None:
    body = os.urandom(size)
    kept = blobs.put(md5(body), [body])
    blobs.place(md5(body), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == body
    assert (tmp_path / "copy").stat().st_mtime_ns == kept.stat().st_mtime_ns
    small = blobs.read_small(md5(body), size)
    assert small == (None if size >= SMALL_BYTES else (body, kept.stat().st_mtime_ns))


def test_small_contents_are_not_read_where_they_are_doubtful(blobs: BlobStore) -> None:
    path = blobs.put(md5(A), [A])
    assert blobs.read_small(md5(A), len(A) + 1) is None
    assert blobs.read_small(md5(B)) is None
    assert path.exists()
    os.utime(path, ns=(1, 1))  # its seal is broken: `find` reads it through
    assert blobs.read_small(md5(A)) is None
    assert blobs.find(md5(A)) is not None
    assert blobs.read_small(md5(A)) is not None


def test_reading_small_contents_counts_as_use(blobs: BlobStore) -> None:
    for body in (A, B):
        blobs.put(md5(body), [body])
    for path in everything(blobs.folder):
        os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert blobs.read_small(md5(A)) is not None
    assert blobs.gc(len(A)).left == 1
    assert blobs.has(md5(A))


def test_an_edit_of_a_copy_leaves_the_store_alone(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.put(md5(A), [A])
    blobs.place(md5(A), tmp_path / "mine")
    (tmp_path / "mine").write_bytes(B)
    blobs.place(md5(A), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == A


def test_an_edit_through_a_hard_link_is_noticed_and_never_handed_out(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs", link="hardlink")
    blobs.put(md5(A), [A])
    mine = tmp_path / "mine"
    blobs.place(md5(A), mine)
    mine.chmod(0o644)
    with mine.open("r+b") as file:  # same file, same size
        file.write(b"FIRST")
    assert not blobs.has(md5(A), len(A))
    with pytest.raises(FileNotFoundError):
        blobs.place(md5(A), tmp_path / "again")
    blobs.put(md5(A), [A])
    blobs.place(md5(A), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == A
    assert mine.read_bytes() == b"FIRST" + A[5:]


def test_a_file_that_was_only_touched_is_read_once_and_trusted_again(blobs: BlobStore) -> None:
    path = blobs.put(md5(A), [A])
    os.utime(path, ns=(1, 1))
    assert blobs.has(md5(A))
    assert path.stat().st_mtime_ns != 1
    before = path.stat().st_mtime_ns
    assert blobs.has(md5(A))
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("remove", [False, True])
def test_verify_finds_what_is_damaged(blobs: BlobStore, remove: bool) -> None:
    good, bad = blobs.put(md5(A), [A]), blobs.put(md5(B), [B])
    mtime = bad.stat().st_mtime_ns
    bad.chmod(0o644)
    bad.write_bytes(bytes(len(B)))
    os.utime(bad, ns=(mtime, mtime))  # as a bit that flips on the disk leaves it
    stranger = good.with_name("README")
    stranger.write_text("hello")
    read: list[int] = []
    found = {each.path: each.problem for each in blobs.verify(remove=remove, on_file=read.append)}
    assert set(found) == {bad, stranger}
    assert "its digest is" in found[bad]
    assert found[stranger] == "its name is no digest"
    assert bad.exists() != remove
    assert good.exists()
    assert sum(read) == len(A) + len(B) + 5


def test_the_quota_evicts_what_was_not_used_for_longest(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs", quota_bytes=100)
    bodies = [bytes([i]) * 30 for i in range(4)]
    for body in bodies[:3]:
        blobs.put(md5(body), [body])
    assert blobs.has(md5(bodies[0]))  # used: now the second is the oldest
    blobs.put(md5(bodies[3]), [bodies[3]])
    assert [blobs.has(md5(body)) for body in bodies] == [True, False, True, True]
    assert blobs.size().bytes <= 100


def test_the_quota_counts_what_another_process_put(tmp_path: Path) -> None:
    one, other = (BlobStore(tmp_path / "blobs", quota_bytes=1000) for _ in range(2))
    for i in range(60):
        body = f"{i:0100}".encode()
        (one if i % 2 else other).put(md5(body), [body])
        assert one.size().bytes <= 1000 + 200


def test_contents_larger_than_the_quota_are_refused(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs", quota_bytes=12)
    blobs.put(md5(B), [B])
    with pytest.raises(NoRoom, match="quota"):
        blobs.put(md5(A), [A], size=len(A))
    assert blobs.has(md5(B))


def test_gc_leaves_so_much_and_takes_the_oldest(blobs: BlobStore) -> None:
    for body in (A, B, C):
        blobs.put(md5(body), [body])
    assert blobs.has(md5(A))
    swept = blobs.gc(len(A) + len(C))
    assert (swept.removed, swept.removed_bytes, swept.left) == (1, len(B), 2)
    assert not blobs.has(md5(B))
    assert blobs.gc().removed == 0  # no quota: nothing to do


def test_gc_to_nothing_takes_an_empty_file_too_whatever_its_turn(blobs: BlobStore) -> None:
    for body in (A, b""):
        blobs.put(md5(body), [body])
    assert blobs.gc(0).left == 0
    assert blobs.size().files == 0


def test_gc_takes_abandoned_bytes_but_not_those_at_work(blobs: BlobStore) -> None:
    for body in (A, B, C):
        with blobs.gathering(md5(body), len(body)) as part:
            assert part is not None
            part.write(body[:4])
    assert blobs.size().incoming == 3
    old, held, _young = sorted((blobs.folder / "incoming").iterdir())
    for path in (old, held):
        os.utime(path, (1, 1))
    with held.open() as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        assert blobs.gc().removed == 1
    assert not old.exists()
    assert held.exists()


def test_many_threads_gather_a_digest_once(blobs: BlobStore) -> None:
    body = bytes(range(256)) * 4096
    read = []

    def chunks() -> Iterator[bytes]:
        read.append(1)
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    threads = [
        threading.Thread(target=lambda: blobs.put(md5(body), chunks(), size=len(body)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 1
    assert blobs.size().files == 1
    assert blobs.size().incoming == 0


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blobs = BlobStore(tmp_path / "file" / "blobs")
    with pytest.raises((ContentError, NotADirectoryError)):
        blobs.put(md5(A), [A])
    assert not blobs.has(md5(A))
    assert blobs.size().files == 0


def test_contents_that_are_here_need_no_http_library() -> None:
    code = "import sys, mirror.blobs; print(*{'httpx', 'sqlalchemy', 'click'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
