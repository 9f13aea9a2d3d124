"""What the pages show is typed in: every `$ mirror …` line runs, and prints what stands under it.

Each page runs in order in a folder of its own, against one sandbox server that is as the page takes it to
be. What is not ours (pipes, redirections, other programs) is left out.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mirror.cli import cli
from mirror.sandbox import Server, World, generate, generate_artifacts
from mirror.sandbox.artifact_generator import generate_registries
from mirror.sandbox.objects import StoredFile

DOCS = Path(__file__).resolve().parent.parent / "docs"
KEY = "sandbox-0000000000000000000000000000000000000000"
AT = "2026-11-24T17:48:19Z"
PAGES = {
    "../README.md": "my-team/vision",
    "migrating.md": "my-team/vision",
    "how-to/contents.md": "my-team/vision",
    "how-to/lineage.md": "my-team/vision",
    "how-to/cron.md": "my-team/vision",
    "how-to/systemd.md": "my-team/vision",
    "tutorial.md": "team/vision",
}
"""Each page and the project it is about."""

MISTAKES = {"""mirror runs team/vision --filter '{"config.lr": {"$grater": 0.1}}'""": 2}
"""Commands that a page shows to fail; all others end with 0."""


@dataclass(frozen=True)
class Shown:
    """A command of a page, and the lines it shows under it."""

    command: str
    output: list[str]


def shown_on(page: Path) -> list[Shown]:
    """The commands of the console blocks of a page."""
    found: list[Shown] = []
    for indent, block in re.findall(r"^( *)```console\n(.*?)^ *```", page.read_text(), re.M | re.S):
        text = re.sub(rf"^{indent}", "", block, flags=re.M).replace("\\\n", " ")
        for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
            command, *output = part.splitlines()
            found.append(Shown(command.strip(), output))
    return found


def example() -> World:
    """The small project that the how-tos talk about."""
    world = World()
    world.add_user("me", key=KEY, teams=["my-team"])
    world.add_organization("acme", teams=["my-team"], members=["me"])
    world.add_project("my-team", "vision", user="me")
    for name, kind in (("prep01", "preprocess"), ("train7", "train"), ("eval03", "eval"), ("3f8a2c1d", None)):  # fmt: skip
        world.add_run("my-team/vision", name=name, job_type=kind, state="finished", user="me")
    files = world.run("my-team/vision", "3f8a2c1d").recorded().files
    for name in ("output.log", "media/a.png", "media/deep/b.png"):
        files[name] = StoredFile(world.number(), name, AT, name.encode(), "text/plain")
    shelf, at = world.artifacts, "my-team/vision"
    shelf.log(f"{at}/raw", "dataset", {"raw.csv": "r" * 420}, created_at=AT)
    shelf.log(f"{at}/data", "dataset", {"train.csv": "t" * 2000, "notes.md": "n" * 500}, run=f"{at}/prep01", created_at=AT)  # fmt: skip
    shelf.log(f"{at}/data", "dataset", {"train.csv": "T" * 2600, "notes.md": "n" * 500, "test.csv": "s" * 400}, run=f"{at}/prep01", created_at=AT)  # fmt: skip
    shelf.log(f"{at}/resnet", "model", {"weights.bin": "w" * 9000}, run=f"{at}/train7", aliases=["best"], created_at=AT)  # fmt: skip
    shelf.log(f"{at}/report", "eval-table", {"table.json": "{}"}, run=f"{at}/eval03", created_at=AT)
    shelf.use(f"{at}/raw:v0", f"{at}/prep01", "raw")
    shelf.use(f"{at}/data:v1", f"{at}/train7", "training-data")
    shelf.use(f"{at}/resnet:v0", f"{at}/eval03", "model")
    shelf.add_registry("acme", "models", members={"me": "admin"}, created_at=AT)
    shelf.link(
        f"{at}/resnet:v0", "acme-org/wandb-registry-models/classifier", ["production"], at=AT
    )
    return world


def with_contents() -> World:
    """The same with what is downloaded from it."""
    world, at = example(), "my-team/vision"
    world.artifacts.log(f"{at}/model", "model", {"model.pt": "m" * 100}, created_at=AT)
    files, far = {"train.csv": "t" * 2000, "test.csv": "s" * 400}, {"raw.parquet": "s3://my-bucket/raw.parquet"}  # fmt: skip
    world.artifacts.log(f"{at}/dataset", "dataset", files, references=far, created_at=AT)
    return world


def in_a_box() -> World:
    """What `python -m mirror.sandbox` serves, smaller."""
    world = World()
    world.add_user("alice", key=KEY, teams=["team", "my-team"])
    world.add_project("my-team", "vision", user="alice")
    world.add_run("my-team/vision", name="yours")
    generate(world, "team/vision", runs=3000)
    world.add_organization("acme", teams=["team"], members=["alice"])
    generate_artifacts(world, "team/vision", versions=20)
    generate_registries(world, "acme", "team/vision", collections=3)
    return world


WORLDS = {"tutorial.md": in_a_box, "how-to/lineage.md": example}


@pytest.fixture
def server(page: str) -> Iterator[Server]:
    with Server(WORLDS.get(page, with_contents)()) as running:
        yield running


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    for_a_reader(tmp_path, monkeypatch, server)
    prepare(page)
    for shown in shown_on(DOCS / page):
        if shown.command.startswith("mirror "):
            check(shown)


def for_a_reader(home: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """An empty folder, and what the environment of a reader says."""
    for name, value in {
        "HOME": str(home), "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY,
        "MIRROR_STORE": str(home / "mirror.db"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("MIRROR_CONFIG", "MIRROR_MODE", "WANDB_ENTITY", "WANDB_PROJECT", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)


def prepare(page: str) -> None:
    """What a reader of the page has by then: files of the own, and a synced project."""
    for name, text in {"checkpoint.pt": "m" * 100, "weights.bin": "w" * 9000}.items():
        Path(name).write_text(text)
    project = PAGES[page]
    Path("manifests.toml").write_text(f'[projects."{project}"]\ndepth = "manifests"\n')
    if page.startswith("how-to/") or page.endswith("README.md"):
        assert run(f"mirror sync {project} --quiet --config manifests.toml").exit_code == 0


def run(command: str) -> Result:
    words = shlex.split(re.split(r" [|>] ", command)[0])
    return CliRunner().invoke(cli, words[1:], prog_name="mirror")


def check(shown: Shown) -> None:
    done = run(shown.command)
    assert done.exit_code == MISTAKES.get(shown.command, 0), f"{shown.command}\n{done.output}"
    if shown.output and "…" not in shown.output:
        assert plain(done.stdout.splitlines()) == plain(shown.output), shown.command


def plain(lines: list[str]) -> list[str]:
    """Lines without what differs from machine to machine."""
    home = str(Path.cwd())
    return [re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "<time>", line.replace(home, "~")) for line in lines]


# ------------------------------------------------------------------ JSON

JSON_COMMANDS = {
    "sync": "mirror sync my-team/vision --json",
    "sync --plan": "mirror sync --plan my-team/vision --json",
    "verify": "mirror verify my-team/vision --json",
    "status": "mirror status --json",
    "doctor": "mirror doctor --json",
    "runs": "mirror runs my-team/vision --json",
    "keys": "mirror keys my-team/vision --json",
    "explain": "mirror explain my-team/vision --json",
    "index advise": "mirror index advise --json",
    "index list": "mirror index list --json",
    "artifacts of a project": "mirror artifacts my-team/vision --json",
    "artifacts of a collection": "mirror artifacts my-team/vision/data --json",
    "lineage": "mirror lineage my-team/vision/resnet:best --json",
    "which": "mirror which weights.bin --json",
    "diff": "mirror diff my-team/vision/data:v0 my-team/vision/data:v1 --json",
    "get": "mirror get my-team/vision/dataset:v0 --to out --json",
    "blobs size": "mirror blobs size --json",
    "blobs verify": "mirror blobs verify --json",
    "blobs gc": "mirror blobs gc --json",
    "db check": "mirror db check --json",
}


def documented_keys() -> dict[str, tuple[str, set[str]]]:
    """What a command or a part of its answer is said to be: its kind, and its keys."""
    rows = re.findall(r"^\| `([^`]+)`([^|]*) \| (a list|an object) \| (.*) \|$", (DOCS / "json.md").read_text(), re.M)  # fmt: skip
    return {
        f"{name}{more}": (kind, set(re.findall(r"`(\w+)`", keys)))
        for name, more, kind, keys in rows
    }


def test_what_json_prints_has_the_documented_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_contents()
    world.add_run("my-team/vision", name="tuned", config={"lr": 0.1})
    with Server(world) as server:
        for_a_reader(tmp_path, monkeypatch, server)
        prepare("how-to/lineage.md")
        said = {"sync": json.loads(run(JSON_COMMANDS["sync"]).stdout)}
        for _ in range(4):
            run("""mirror runs my-team/vision --count --filter '{"config.lr": {"$gt": 0.1}}'""")
        world.add_run("my-team/vision", name="late")
        damage()
        for name, command in JSON_COMMANDS.items():
            if name == "index list":
                assert run("mirror index add my-team/vision config.lr").exit_code == 0
            if name not in said:
                said[name] = json.loads(run(command).stdout)
    documented = documented_keys()
    assert {name.split(".")[0] for name in documented} == JSON_COMMANDS.keys()
    for name, (kind, keys) in documented.items():
        command, _, part = name.partition(".")
        found = said[command][part] if part else said[command]
        assert isinstance(found, list if kind == "a list" else dict), name
        if keys:
            assert found, f"{name}: nothing to look at"
            (one, *_more) = found if kind == "a list" else [found]
            assert set(one) == keys, name


def damage() -> None:
    """Write a wrong byte into contents that are kept."""
    assert run("mirror get my-team/vision/resnet:best --to out").exit_code == 0
    kept = next(path for path in Path("mirror.db.blobs/md5").rglob("*") if path.is_file())
    kept.chmod(0o644)
    kept.write_bytes(b"wrong")
