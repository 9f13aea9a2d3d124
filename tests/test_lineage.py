"""Questions answered offline: collections, lineage both ways, which version holds a file, diff."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from mirror.artifact_lookup import find_version, parse
from mirror.cli import cli
from mirror.config import resolve
from mirror.errors import NotMirrored, PathError
from mirror.lineage import collections, diff, holdings, lineage, unread_manifests
from mirror.projects import find
from mirror.sandbox import Server, World
from mirror.store import tables
from mirror.sync import sync

sys.path.insert(0, str(Path(__file__).parent / "sync"))
from artifact_worlds import PATH, fill

KEY = "a1b2c3d4e5" * 4


@pytest.fixture
def world() -> World:
    made = World()
    made.add_user("alice", key=KEY, entity="alice", teams=["team"])
    made.add_project("team", "vision")
    fill(made)
    return made


@pytest.fixture
def server(world: World):
    with Server(world, port=0) as running:
        yield running


@pytest.fixture
def mirrored(server, store, tmp_path):
    """The store, synced with manifests."""
    (tmp_path / "mirror.toml").write_text('[projects."team/*"]\ndepth = "manifests"\n')
    config = resolve(
        base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path,
        config=tmp_path / "mirror.toml",
    )  # fmt: skip
    report = sync([PATH], store=store, config=config)
    assert report.exit_code == 0, report
    assert report.counts["manifests"] == 5
    return store


def version(store, name: str):
    return find_version(store, parse(f"{PATH}/{name}"))


def test_collections_are_listed_with_their_newest_version_and_aliases(mirrored):
    found = collections(mirrored, find(mirrored, "team", "vision").project_id)
    assert [(one.name, one.kind, one.versions, one.newest, one.aliases) for one in found] == [
        ("data", "sequence", 4, "v3", {"latest": "v3"}),
        ("model", "sequence", 1, "v0", {"best": "v0", "latest": "v0"}),
        ("shelf", "portfolio", 1, "v0", {"latest": "v0", "prod": "v0"}),
    ]


def test_lineage_goes_up_to_what_a_version_was_made_from(mirrored):
    graph = lineage(mirrored, version(mirrored, "model:best"), down=False)
    names = {node.id: node.path for node in graph.nodes.values()}
    assert {(names[a], names[b], role) for a, b, role in graph.edges} == {
        (f"{PATH}/trainer1", f"{PATH}/data:v3", None),
        (f"{PATH}/data:v3", f"{PATH}/user1", "training-data"),
        (f"{PATH}/user1", f"{PATH}/model:v0", None),
    }
    assert [names[each] for each in graph.up] == [f"{PATH}/data:v3"]


@pytest.mark.parametrize(("depth", "edges"), [(1, 2), (2, 3), (None, 3)])
def test_depth_counts_versions_away(mirrored, depth, edges):
    graph = lineage(mirrored, version(mirrored, "model:best"), down=False, depth=depth)
    assert len(graph.edges) == edges


def test_lineage_goes_down_to_what_was_made_of_it(mirrored):
    graph = lineage(mirrored, version(mirrored, "data:latest"), up=False)
    assert [graph.nodes[each].path for each in graph.down] == [f"{PATH}/model:v0"]


def test_a_run_that_uses_what_it_logged_ends_the_walk(world, server, store, tmp_path):
    run = world.project(PATH).runs["user1"]
    world.artifacts.use(world.artifacts.version(f"{PATH}/model:v0"), run, "itself")
    config = resolve(base_url=server.url, api_key=KEY, store="x", environ={}, cwd=tmp_path)
    sync([PATH], store=store, config=config)
    graph = lineage(store, version(store, "model:v0"))
    assert len(graph.edges) == 4


def test_lineage_follows_the_name_and_type_of_a_sequence(mirrored, world, server, tmp_path):
    world.artifacts.edit_collection(f"{PATH}/data", name="sets", type="table")
    world.advance(900)
    config = resolve(base_url=server.url, api_key=KEY, store="unused", environ={}, cwd=tmp_path)
    assert sync([PATH], store=mirrored, config=config).exit_code == 0
    graph = lineage(mirrored, version(mirrored, "sets:v3"))
    assert (graph.nodes[graph.root].path, graph.nodes[graph.root].type) == (
        f"{PATH}/sets:v3",
        "table",
    )


def test_which_finds_every_version_by_digest(mirrored, world):
    (digest,) = [
        entry.digest
        for entry in world.artifacts.version(f"{PATH}/data:v0").entries
        if entry.path == "d/b.txt"
    ]
    assert [(one.artifact, one.path) for one in holdings(mirrored, [digest])] == [
        (f"{PATH}/data:v{number}", "d/b.txt") for number in range(4)
    ]
    assert unread_manifests(mirrored) == 0


def test_diff_names_what_was_added_removed_and_changed(mirrored):
    changes = diff(mirrored, version(mirrored, "data:v0"), version(mirrored, "data:v1"))
    assert [(one.kind, one.path) for one in changes] == [("changed", "a.txt")]
    changes = diff(mirrored, version(mirrored, "data:v0"), version(mirrored, "model:v0"))
    assert [(one.kind, one.path) for one in changes] == [
        ("removed", "a.txt"),
        ("removed", "d/b.txt"),
        ("added", "w.bin"),
    ]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (f"{PATH}/data:v9", NotMirrored),
        (f"{PATH}/nothing", NotMirrored),
        ("other/project/data", NotMirrored),
        ("data", PathError),
        ("a/b/c/d", PathError),
        ("team/vision/data:", PathError),
    ],
)
def test_a_name_that_means_nothing_says_so(mirrored, name, error):
    with pytest.raises(error):
        find_version(mirrored, parse(name))


def test_a_version_answers_to_alias_number_digest_and_commit_hash(mirrored):
    one = version(mirrored, "data:v2")
    for alias in (one.artifact["digest"], one.membership["commit_hash"]):
        assert version(mirrored, f"data:{alias}").path == f"{PATH}/data:v2"
    assert version(mirrored, "data").path == f"{PATH}/data:v3"


def run(store, *arguments: str):
    url = store.engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(cli, [*arguments, "--store", url])


def test_the_commands_print_trees_tables_json_and_dot(mirrored, tmp_path):
    tree = run(mirrored, "lineage", f"{PATH}/model:best")
    assert tree.exit_code == 0, tree.output
    assert tree.output.splitlines()[:3] == [
        "team/vision/model:v0 (model)",
        "├─ made from",
        "│  └─ run team/vision/user1 (finished)",
    ]
    data = json.loads(run(mirrored, "lineage", f"{PATH}/model:best", "--json").output)
    assert {node["kind"] for node in data["nodes"]} == {"artifact", "run"}
    assert run(mirrored, "lineage", f"{PATH}/model:best", "--dot").output.startswith("digraph")
    assert "portfolio" in run(mirrored, "artifacts", PATH).output
    file = tmp_path / "file"
    file.write_text("same")
    found = run(mirrored, "which", str(file))
    assert found.exit_code == 0
    assert found.output.count("d/b.txt") == 4
    unknown = run(mirrored, "which", "nothing==")
    assert unknown.exit_code == 1
    assert "taken as a digest: there is no such file here" in unknown.stderr
    nothing = run(mirrored, "lineage", f"{PATH}/nothing:v0")
    assert "is not in the mirror (last synced 20" in nothing.stderr
    said = run(mirrored, "diff", f"{PATH}/data:v0", f"{PATH}/data:v1", "--offline")
    assert "0 added, 0 removed, 1 changed" in said.output


def test_a_collection_is_listed_with_its_versions_newest_first(mirrored):
    listed = run(mirrored, "artifacts", f"{PATH}/data")
    assert listed.exit_code == 0, listed.output
    head, *lines = listed.stdout.splitlines()
    assert head.split() == ["version", "aliases", "tags", "files", "size", "created"]
    assert [line.split()[0] for line in lines] == ["v3", "v2", "v1", "v0"]
    assert lines[0].split()[1] == "latest"
    linked = run(mirrored, "artifacts", f"{PATH}/shelf")
    assert linked.stdout.splitlines()[0].endswith("logged as")
    assert linked.stdout.splitlines()[1].endswith(f"{PATH}/model:v0")
    assert "latest→v3" in run(mirrored, "artifacts", PATH).stdout


@pytest.mark.parametrize("alias", ["latest", "v3"])
def test_one_version_of_a_collection_is_listed_by_an_alias(mirrored, alias):
    (one,) = json.loads(run(mirrored, "artifacts", f"{PATH}/data:{alias}", "--json").stdout)
    assert (one["artifact"], one["aliases"], one["source"]) == (f"{PATH}/data:v3", ["latest"], None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("artifacts", f"{PATH}/nothing"),
            1,
            "artifact collection 'team/vision/nothing' is not in",
        ),
        (("artifacts", f"{PATH}/data:v9"), 1, "artifact version 'team/vision/data:v9' is not in"),
        (("artifacts", f"{PATH}/data", "--type", "x"), 2, "--type chooses collections"),
        (("artifacts", f"{PATH}/data/more"), 2, "expected [entity/]project/collection[:alias]"),
        (("which", ""), 2, "'' is neither a file nor a digest"),
        (("which", "."), 2, "'.' is neither a file nor a digest"),
        (("which", "0" * 32), 1, "no version that is mirrored is known to contain"),
    ],
)
def test_what_cannot_be_answered_is_told(mirrored, arguments, code, said):
    done = run(mirrored, *arguments)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stdout == ""


def test_which_takes_a_digest_in_hexadecimal_and_that_of_a_version(mirrored):
    (entry,) = digests_at(mirrored, "d/b.txt")
    digest = base64.b64decode(entry).hex()
    for spelled in (digest, digest.upper()):
        assert run(mirrored, "which", spelled).stdout.count("d/b.txt") == 4
    whole = version(mirrored, "data:v2").artifact["digest"]
    assert "(the whole)" in run(mirrored, "which", whole).stdout


def digests_at(store, path: str) -> set[str]:
    e = tables.artifact_entries.c
    return {row["digest"] for row in store.rows(sa.select(e.digest).where(e.path == path))}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_tree_is_drawn_in_what_the_terminal_can_show(mirrored, encoding):
    url = mirrored.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "mirror", "lineage", f"{PATH}/model:best", "--store", url]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    first = "├─ made from" if encoding == "utf-8" else "|- made from"
    assert done.stdout.decode(encoding).splitlines()[1] == first
