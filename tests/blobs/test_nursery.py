"""Files that are made in one folder and named in another: where it is done, and where it must not be."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from host import Get, Host, md5
from test_download import nothing_but

from mirror.blobs import BlobStore
from mirror.blobs.nursery import PREFIX, fits, nursery
from mirror.blobs.place import Copies

pytestmark = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="Linux's")


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system is taken for one that wants it; those that cannot still have none."""
    monkeypatch.setattr("mirror.blobs.nursery._has_no_journal", lambda _device: True)
    monkeypatch.setattr("mirror.blobs.nursery.QUICK_S", 0.0)


def opened(folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    return os.open(folder, os.O_PATH | os.O_DIRECTORY)


@pytest.mark.usefixtures("wanted")
def test_a_nursery_is_empty_and_leaves_nothing(tmp_path: Path) -> None:
    with nursery(tmp_path, str(tmp_path)) as born_in:
        for name in os.listdir(tmp_path):  # noqa: PTH208 - names
            assert name.startswith(PREFIX)
            assert born_in is not None
        if born_in is not None:
            with Copies(born_in) as copies:
                (tmp_path / "out").mkdir()
                copies.put(b"body", str(tmp_path / "out" / "file"), 1)
                copies.put(b"other", str(tmp_path / "out" / "file"), 1)
            assert (tmp_path / "out" / "file").read_bytes() == b"other"
    assert not [*tmp_path.glob(f"{PREFIX}*")]


@pytest.mark.usefixtures("wanted")
def test_there_is_none_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with nursery(tmp_path / "nothing", str(tmp_path)) as born_in:
        assert born_in is None


@pytest.mark.usefixtures("wanted")
def test_a_download_of_many_small_files_is_the_same(
    host: Host, get: Get, blobs: BlobStore, tmp_path: Path
) -> None:
    host.files = {f"d{i % 3}/f{i}": f"body {i % 40}".encode() for i in range(80)}
    get()
    assert get(root=tmp_path / "other").fetched == 0
    assert nothing_but(tmp_path / "other", host.files)
    assert sorted(path.name for path in blobs.folder.iterdir()) == ["incoming", "md5"]


def test_there_is_none_where_files_are_made_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.blobs.nursery._has_no_journal", lambda _device: True)
    monkeypatch.setattr("mirror.blobs.nursery.QUICK_S", float("inf"))
    with nursery(tmp_path, str(tmp_path)) as born_in:
        assert born_in is None
        assert [*tmp_path.iterdir()] == []


def test_a_file_that_cannot_be_named_from_there_is_made_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system only")
    monkeypatch.setattr("mirror.blobs.place.fits", lambda *_folders: True)
    born_in = opened(memory)
    (tmp_path / "there").write_bytes(b"old")
    with Copies(born_in) as copies:
        for name in ("there", "new"):
            copies.put(b"body", str(tmp_path / name), 1)
    os.close(born_in)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "there": b"body",
        "new": b"body",
    }


def test_a_folder_that_hands_something_on_to_its_files_gets_them_made_in_it(tmp_path: Path) -> None:
    born_in = opened(tmp_path / "nursery")
    plain, group, listed = (opened(tmp_path / name) for name in ("plain", "group", "listed"))
    (tmp_path / "group").chmod(0o2775)
    assert fits(born_in, plain)
    assert not fits(born_in, group)
    entries = ((1, 7), (4, 5), (32, 5))  # owner, group, others
    access_list = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *one, 2**32 - 1) for one in entries
    )
    try:
        os.setxattr(tmp_path / "listed", "system.posix_acl_default", access_list)
    except OSError:
        pass  # a file system without them
    else:
        assert not fits(born_in, listed)
    for descriptor in (born_in, plain, group, listed):
        os.close(descriptor)


def test_gc_takes_what_a_killed_process_left(blobs: BlobStore) -> None:
    blobs.put(md5(b"body"), [b"body"])
    (blobs.folder / f"{PREFIX}0123").mkdir()
    assert blobs.gc().left == 1
    assert not [*blobs.folder.glob(f"{PREFIX}*")]
