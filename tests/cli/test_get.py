"""`mirror get` and `mirror blobs`, as a user calls them, against the sandbox."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Run
from files_of_a_run import RUN, add_run, below, sync_from, world_with

from mirror.sandbox import Server, World

FILES = {
    "output.log": b"line one\nline two\n",
    "media/a.png": b"first picture",
    "media/deep/b.png": b"another picture",
    "media/a.txt": b"words",
    "empty": b"",
}


@pytest.fixture
def world() -> World:
    world = world_with(FILES)
    add_run(world, "evil", {"../../evil": b"evil"})
    return world


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    with Server(world) as running:
        yield running


@pytest.fixture
def path(world: World, server: Server, run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a run with files, in a project that was synced."""
    sync_from(server, run, monkeypatch)
    return RUN


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", set(FILES)),
        ("output.log", {"output.log"}),
        ("media/*.png", {"media/a.png", "media/deep/b.png"}),
        ("media/?.*", {"media/a.png", "media/a.txt"}),
    ],
)
def test_files_of_a_run_come_by_name_or_glob(run: Run, path: str, tmp_path: Path, pattern: str, expected: set[str]) -> None:  # fmt: skip
    done = run("get", f"{path}/{pattern}", "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert below(tmp_path / "out") == {name: FILES[name] for name in expected}
    files = "1 file " if len(expected) == 1 else f"{len(expected)} files "
    assert done.stdout.startswith(f"{path}: {files}in ")


def test_what_was_got_once_comes_offline(run: Run, path: str, server: Server, tmp_path: Path) -> None:  # fmt: skip
    assert run("get", f"{path}/*", "--to", tmp_path / "one").exit_code == 0
    server.stop()
    done = run("get", f"{path}/*", "--to", tmp_path / "two", "--offline", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["files"], said["fetched"]) == (len(FILES), 0)
    assert below(tmp_path / "two") == FILES


def test_what_was_never_got_is_told_offline(run: Run, path: str, tmp_path: Path) -> None:
    done = run("get", f"{path}/*", "--to", tmp_path / "out", "--offline")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "is not in the mirror" in done.stderr
    assert below(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("{path}/nothing*",), 2, "has no file 'nothing*'"),
        (("team/vision",), 2, "neither an artifact nor files of a run"),
        (("{path}",), 2, "neither an artifact nor files of a run"),
        (("https://wandb.ai/team/vision",), 2, "neither an artifact nor files of a run"),
        (("https://wandb.ai/team/vision/runs/abc",), 2, "neither an artifact nor files of a run"),
        (("{path}/*", "--prefix", "x"), 2, "--prefix is for artifacts"),
        ((), 2, "Missing argument"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(run: Run, path: str, args: tuple[str, ...], code: int, text: str) -> None:  # fmt: skip
    done = run("get", *(arg.format(path=path) for arg in args))
    assert done.exit_code == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_leads_out_of_the_folder_is_refused(run: Run, path: str, tmp_path: Path) -> None:  # fmt: skip
    done = run("get", "team/vision/evil/*", "--to", tmp_path / "a" / "b")
    assert done.exit_code == 1
    assert "leads upwards" in done.stderr
    assert not (tmp_path / "evil").exists()


def test_an_artifact_comes_once_and_then_offline(world: World, run: Run, path: str, server: Server, tmp_path: Path) -> None:  # fmt: skip
    for files in ({"a.txt": b"a", "d/b.txt": b"b"}, {"a.txt": b"new"}):
        world.artifacts.log("team/vision/data", files=files)
    name = "team/vision/data:v0"
    first = run("get", name, "--to", tmp_path / "one")
    assert first.exit_code == 0, first.output
    assert "2 files" in first.stdout
    assert run("get", "team/vision/data:latest", "--to", tmp_path / "new").exit_code == 0
    assert below(tmp_path / "new") == {"a.txt": b"new"}
    server.stop()
    again = run("get", name, "--to", tmp_path / "two", "--prefix", "d/", "--offline", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["files"] == 1
    assert below(tmp_path / "one") == {"a.txt": b"a", "d/b.txt": b"b"}
    assert below(tmp_path / "two") == {"d/b.txt": b"b"}


def test_references_are_counted_apart_and_fetched_when_asked(
    world: World, run: Run, path: str, tmp_path: Path
) -> None:
    (tmp_path / "local").write_bytes(b"here")
    elsewhere = {"l.txt": (tmp_path / "local").as_uri(), "s3.bin": "s3://bucket/key"}
    world.artifacts.log("team/vision/refs", files={"a.txt": b"a"}, references=elsewhere)
    world.artifacts.log("team/vision/one", files={"a.txt": b"a"}, references={"x": "s3://b/x"})
    out = tmp_path / "out"
    done = run("get", "team/vision/one:v0", "--to", out)
    assert done.stdout.splitlines() == [
        f"team/vision/one:v0: 1 file in {out}, 1 fetched (1 B)",
        "1 reference not fetched (s3://b/x)",
    ]
    done = run("get", "team/vision/refs:v0", "--to", out, "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert below(out) == {"a.txt": b"a"}
    asked = run("get", "team/vision/refs:v0", "--to", out, "--references", "--json")
    assert asked.exit_code == 3
    assert "s3.bin: left out: " in asked.stderr
    assert json.loads(asked.stdout)["files"] == 2
    assert below(out) == {"a.txt": b"a", "l.txt": b"here"}


@pytest.mark.parametrize(
    "what",
    [
        "team/vision/abc/media/a.png",
        "team/vision/runs/abc/media/a.png",
        "https://wandb.ai/team/vision/runs/abc/files/media/a.png",
        "https://forge.example.com/wandb/team/vision/runs/abc/files/media/a%2Epng?nw=nwuser",
        "wandb.ai/team/vision/runs/abc/files/media/a.png",
    ],
)
def test_a_file_is_named_by_its_path_or_its_page(
    run: Run, path: str, tmp_path: Path, what: str
) -> None:
    done = run("get", what, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert below(tmp_path / "out") == {"media/a.png": FILES["media/a.png"]}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("logs/*.txt", {"logs\\a.txt", "logs/b.txt"}),
        ("logs\\a.txt", {"logs\\a.txt"}),
        ("a[1].txt", {"a[1].txt"}),
        ("a?.txt", {"a1.txt"}),
        ("CON", {"CON"}),
    ],
)
def test_names_from_windows_and_names_that_look_like_globs(
    world: World, run: Run, path: str, tmp_path: Path, pattern: str, expected: set[str]
) -> None:
    names = ("logs\\a.txt", "logs/b.txt", "a[1].txt", "a1.txt", "CON")
    add_run(world, "odd", {name: name.encode() for name in names})
    done = run("get", f"team/vision/odd/{pattern}", "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert set(below(tmp_path / "out")) == expected


def test_a_version_that_is_not_there_is_told(run: Run, path: str) -> None:
    done = run("get", "team/vision/data:v7")
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert "data:v7" in done.stderr


def test_a_folder_that_cannot_be_made_is_told(run: Run, path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = run("get", f"{path}/output.log", "--to", str(tmp_path / "file" / "below"))
    assert found.exit_code == 1
    assert found.stderr.endswith("Not a directory\n")
    assert found.stderr.startswith("Error: ")


def test_blobs_are_counted_verified_and_evicted(run: Run, path: str, tmp_path: Path) -> None:
    run("get", f"{path}/*", "--to", tmp_path / "out")
    counted = json.loads(run("blobs", "size", "--json").stdout)
    total = sum(map(len, FILES.values()))
    assert (counted["files"], counted["bytes"], counted["quota_bytes"]) == (len(FILES), total, None)
    assert counted["folder"] == str(Path.home() / "m.db.blobs")
    assert f"{len(FILES)} files" in run("blobs", "size").stdout
    assert run("blobs", "verify").exit_code == 0

    damaged = next(
        p for p in Path(counted["folder"]).rglob("*") if p.is_file() and p.stat().st_size
    )
    damaged.chmod(0o644)
    damaged.write_bytes(os.urandom(damaged.stat().st_size))
    found = run("blobs", "verify", "--json")
    assert found.exit_code == 1
    assert [each["path"] for each in json.loads(found.stdout)["damaged"]] == [str(damaged)]
    assert run("blobs", "verify", "--remove").exit_code == 1
    assert run("blobs", "verify").exit_code == 0

    assert json.loads(run("blobs", "gc", "--to", "20B", "--json").stdout)["left_bytes"] <= 20
    assert "left: 0 files, 0 B" in run("blobs", "gc", "--to", "0").stdout
    assert below(tmp_path / "out") == FILES  # what was downloaded stays
    assert run("get", f"{path}/*", "--to", tmp_path / "again").exit_code == 0


def test_the_quota_of_the_settings_holds(run: Run, path: str, tmp_path: Path) -> None:
    Path("mirror.toml").write_text('[contents]\nquota = "30B"\nfolder = "kept"\n')
    assert run("get", f"{path}/*", "--to", tmp_path / "out").exit_code == 0
    assert below(tmp_path / "out") == FILES
    counted = json.loads(run("blobs", "size", "--json").stdout)
    assert 0 < counted["bytes"] <= 30
    assert counted["folder"] == str(Path.home() / "kept")


@pytest.mark.parametrize("size", ["much", "-1", "1.5XB", ""])
def test_a_size_that_cannot_be_read_is_wrong_use(run: Run, size: str) -> None:
    done = run("blobs", "gc", f"--to={size}")
    assert done.exit_code == 2
    assert "expected a size" in done.stderr
