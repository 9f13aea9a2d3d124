"""Commands that answer questions about artifacts from the store: artifacts, lineage, which, diff."""

from __future__ import annotations

import importlib.util
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.app import cli
from mirror.cli.opening import Opened, opened
from mirror.cli.options import common, one_of, store_option
from mirror.cli.output import bytes_text, counted, json_text, print_table, shown

if TYPE_CHECKING:
    from mirror.artifact_lookup import ArtifactPath, Version
    from mirror.lineage import Collection, Graph, Member

__all__ = ["artifacts", "diff", "lineage", "which"]


@cli.command()
@click.argument("path", metavar="ENTITY/PROJECT[/COLLECTION[:ALIAS]]")
@click.option("--type", "kind", metavar="TYPE", help="Only collections of this type.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list; sizes are bytes.")
@store_option
@common
def artifacts(
    path: str, kind: str | None, as_json: bool, store: str | None, config: str | None
) -> None:
    """List the artifact collections of a project or a registry, or the versions of one, from the mirror.

    \b
    mirror artifacts my-team/vision --type model
    mirror artifacts my-org/wandb-registry-models
    mirror artifacts my-team/vision/dataset
    """
    from mirror import lineage as questions

    if _names_collection(path):
        if kind is not None:
            raise click.UsageError(
                "--type chooses collections of a project; this is one collection"
            )
        with opened(store, config) as mirrored:
            versions = questions.members(mirrored.store, _named(mirrored, path))
        _print_versions(versions, as_json)
        return
    with opened(store, config) as mirrored:
        found = [one for one in _collections(mirrored, path) if kind is None or one.type == kind]
    _print_collections(found, as_json)


def _names_collection(path: str) -> bool:
    """`entity/project/collection`, or anything with an alias; an address is a project's."""
    return "://" not in path and (path.strip("/").count("/") >= 2 or ":" in path)


def _collections(mirrored: Opened, path: str) -> list[Collection]:
    from mirror import lineage as questions
    from mirror import paths
    from mirror.artifact_lookup import project_of

    scope = paths.parse_project(path, entity=mirrored.settings.entity)
    project = project_of(mirrored.store, scope.entity, scope.project)
    return questions.collections(mirrored.store, project.project_id)


def _print_collections(found: Sequence[Collection], as_json: bool) -> None:
    if as_json:
        click.echo(json_text([asdict(one) for one in found], indent=True))
        return
    rows = [
        (
            one.name, one.type, one.kind, one.versions, one.newest,
            ", ".join(f"{name}→{at}" for name, at in one.aliases.items()),
            ", ".join(one.tags), bytes_text(one.size),
        )
        for one in found
    ]  # fmt: skip
    names = ("name", "type", "kind", "versions", "newest", "aliases", "tags", "size")
    print_table(names, rows, right=("versions", "size"))
    parts = [one.name for one in found if not one.whole]
    if parts:
        click.echo(
            f"only versions that were asked for so far, until `mirror sync`: {shown(', '.join(parts))}",
            err=True,
        )


def _print_versions(found: Sequence[Member], as_json: bool) -> None:
    if as_json:
        click.echo(json_text([asdict(one) for one in found], indent=True))
        return
    columns: dict[str, list[Any]] = {
        "version": [one.version for one in found],
        "aliases": [", ".join(one.aliases) for one in found],
        "tags": [", ".join(one.tags) for one in found],
        "files": [one.files for one in found],
        "size": [bytes_text(one.size or 0) for one in found],
        "created": [one.created_at for one in found],
    }
    if any(one.state != "COMMITTED" for one in found):
        columns["state"] = [one.state for one in found]
    if any(one.source for one in found):
        columns["logged as"] = [one.source for one in found]
    print_table([*columns], [*zip(*columns.values(), strict=True)], right=("files", "size"))


@cli.command()
@click.argument("artifact", metavar="ARTIFACT")
@click.option("--up", is_flag=True, help="Only what it was made from.")
@click.option("--down", is_flag=True, help="Only what was made of it.")
@click.option("--depth", type=click.IntRange(min=1), help="At most so many versions away.  [default: all]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Nodes and edges, as one JSON object.")
@click.option("--dot", is_flag=True, help="As a graph for Graphviz.")
@store_option
@common
def lineage(
    artifact: str,
    up: bool,
    down: bool,
    depth: int | None,
    as_json: bool,
    dot: bool,
    store: str | None,
    config: str | None,
) -> None:
    """Show which runs and versions lead to a version, and what was made of it.

    \b
    mirror lineage my-team/vision/model:best --up
    mirror lineage my-team/vision/data:v3 --down --depth 2 --dot | dot -Tsvg > data.svg
    """
    from mirror.lineage import lineage as graph_of

    how = one_of({"--json": as_json, "--dot": dot})
    with opened(store, config) as mirrored:
        version = _version(mirrored, artifact)
        graph = graph_of(mirrored.store, version, up=up or not down, down=down or not up, depth=depth)  # fmt: skip
    if how == "--json":
        click.echo(json_text(graph.to_dict(), indent=True))
    elif how == "--dot":
        click.echo(graph.to_dot())
    else:
        for line in _tree(graph, up=up or not down, down=down or not up):
            click.echo(shown(line))
    if graph.truncated:
        click.echo(f"cut at {counted(len(graph.nodes), 'node')}; --depth shows less", err=True)


def _version(mirrored: Opened, text: str) -> Version:
    from mirror.artifact_lookup import find_version

    return find_version(mirrored.store, _named(mirrored, text))


def _named(mirrored: Opened, text: str) -> ArtifactPath:
    from mirror.artifact_lookup import parse

    return parse(text.strip("/"), entity=mirrored.settings.entity)


def _tree(graph: Graph, *, up: bool, down: bool) -> Iterator[str]:
    """Lines of the graph as a tree; what was shown above is not shown with its branches again."""
    before: dict[str, list[tuple[str, str | None]]] = {}
    after: dict[str, list[tuple[str, str | None]]] = {}
    for start, end, role in graph.edges:
        before.setdefault(end, []).append((start, role))
        after.setdefault(start, []).append((end, role))
    yield _label(graph, graph.root, None)
    for wanted, title, nexts in ((up, "made from", before), (down, "led to", after)):
        if wanted:
            yield f"├─ {title}" if wanted and title == "made from" and down else f"└─ {title}"
            lead = "│  " if title == "made from" and down else "   "
            branches = list(_branches(graph, graph.root, nexts, lead, {graph.root}))
            yield from branches or [f"{lead}└─ nothing that is mirrored"]


def _branches(
    graph: Graph,
    node: str,
    nexts: dict[str, list[tuple[str, str | None]]],
    lead: str,
    seen: set[str],
) -> Iterator[str]:
    """Lines below a node; a stack, since a lineage may be deeper than Python's own."""
    todo = [(node, lead, nexts.get(node, []))]
    while todo:
        at, indent, rest = todo.pop()
        if not rest:
            continue
        (child, role), others = rest[0], rest[1:]
        todo.append((at, indent, others))
        again = child in seen and bool(nexts.get(child))
        yield f"{indent}{'├─' if others else '└─'} {_label(graph, child, role)}{' (above)' if again else ''}"  # fmt: skip
        if not again:
            seen.add(child)
            todo.append((child, indent + ("│  " if others else "   "), nexts.get(child, [])))


def _label(graph: Graph, identifier: str, role: str | None) -> str:
    node = graph.nodes[identifier]
    said = [node.type or "", f"as {role}" if role else "", node.state or "" if node.state not in ("COMMITTED", None) else ""]  # fmt: skip
    about = ", ".join(part for part in said if part)
    name = node.path if node.kind == "artifact" else f"run {node.path}"
    return f"{name} ({about})" if about else name


@cli.command()
@click.argument("wanted", metavar="FILE|DIGEST")
@click.option("--json", "as_json", is_flag=True, help="One JSON list; sizes are bytes.")
@store_option
@common
@click.pass_context
def which(
    ctx: click.Context, wanted: str, as_json: bool, store: str | None, config: str | None
) -> None:
    """Say which versions contain a file, given the file or its digest as in manifests.

    Exits 1 if none is known to. Only versions whose manifest was read can be found: set
    depth = "manifests" for the projects to search.

    \b
    mirror which weights.bin
    mirror which XrY7u+Ae7tCTyyK7j1rNww==
    """
    from mirror.lineage import holdings, unread_manifests

    file = Path(wanted)
    if not wanted or file.is_dir():
        raise click.UsageError(f"{wanted!r} is neither a file nor a digest")
    digests = _digests_of(file) if file.is_file() else _spellings_of(wanted)
    with opened(store, config) as mirrored:
        found = holdings(mirrored.store, digests)
        unread = unread_manifests(mirrored.store)
    if as_json:
        click.echo(json_text([asdict(one) for one in found], indent=True))
    else:
        rows = [(one.artifact, one.path or "(the whole)", bytes_text(one.size or 0), one.created_at) for one in found]  # fmt: skip
        if rows:
            print_table(("artifact", "path", "size", "created"), rows, right=("size",))
        else:
            how = "" if file.is_file() else " (taken as a digest: there is no such file here)"
            click.echo(f"no version that is mirrored is known to contain {wanted}{how}", err=True)
    if unread:
        click.echo(
            f"not searched: {counted(unread, 'version')} without a mirrored manifest", err=True
        )
    ctx.exit(0 if found else 1)


def _digests_of(file: Path) -> list[str]:
    """What a manifest may call a file's contents: its MD5, and its XXH128 if that can be computed."""
    from mirror.blobs import digest_of

    kinds = ["md5"] + ["xxh128"] * (importlib.util.find_spec("xxhash") is not None)
    return [digest_of(file, kind) for kind in kinds]


def _spellings_of(digest: str) -> list[str]:
    """A digest as it is given and, of 32 hexadecimal digits, as manifests spell it."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", digest):
        return [digest]
    return [digest.lower(), b64encode(bytes.fromhex(digest)).decode()]


@cli.command()
@click.argument("old", metavar="ARTIFACT:OLD")
@click.argument("new", metavar="ARTIFACT:NEW")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes are bytes.")
@click.option("--offline", is_flag=True, help="Do not ask the server for a manifest that is not here.")  # fmt: skip
@store_option
@common
def diff(
    old: str, new: str, as_json: bool, offline: bool, store: str | None, config: str | None
) -> None:
    """Show which entries differ between two versions, and by how many bytes.

    \b
    mirror diff my-team/vision/data:v1 my-team/vision/data:v2
    """
    from mirror.lineage import diff as changes_of

    with opened(store, config) as mirrored:
        one, two = _version(mirrored, old), _version(mirrored, new)
        if not offline:
            _read_manifests(mirrored, one, two)
        changes = changes_of(mirrored.store, one, two)
    grown = sum((each.new_size or 0) - (each.old_size or 0) for each in changes)
    counts = {kind: sum(each.kind == kind for each in changes) for kind in ("added", "removed", "changed")}  # fmt: skip
    if as_json:
        entries = [asdict(each) for each in changes]
        told: dict[str, Any] = {"old": one.path, "new": two.path, **counts, "bytes": grown}
        click.echo(json_text({**told, "entries": entries}, indent=True))
        return
    marks = {"added": "+", "removed": "-", "changed": "~"}
    for each in changes:
        sizes = " → ".join(bytes_text(size) for size in (each.old_size, each.new_size) if size is not None)  # fmt: skip
        click.echo(f"{marks[each.kind]} {shown(each.path)}  {sizes}")
    said = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    click.echo(f"{said}, {'+' if grown >= 0 else '-'}{bytes_text(abs(grown))}")


def _read_manifests(mirrored: Opened, *versions: Version) -> None:
    """Read the manifests that are not here, from the server."""
    from mirror.sync.manifests import read_manifest
    from mirror.sync.round import connect

    missing = [one for one in versions if one.artifact["manifest_read_at"] is None]
    if not missing:
        return
    with connect(mirrored.settings) as client:
        for one in missing:
            read_manifest(client, mirrored.store, one.artifact["id"])
