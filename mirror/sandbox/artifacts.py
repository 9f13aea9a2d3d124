"""What queries show of artifacts: types, collections, memberships, versions, files, lineage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mirror.sandbox import artifact_filters
from mirror.sandbox.artifact_objects import (
    Artifact,
    ArtifactType,
    Collection,
    Entry,
    Manifest,
    Membership,
    shelf,
)
from mirror.sandbox.artifact_world import storage_path
from mirror.sandbox.connections import Edge, Page, Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.ids import global_id
from mirror.sandbox.objects import Project, Run, User
from mirror.sandbox.run_fields import value
from mirror.sandbox.selection import Resolver

KINDS: Final = {"SEQUENCE": "ArtifactSequence", "PORTFOLIO": "ArtifactPortfolio"}
FILES_CAP: Final = 5000


class VersionedEdge(NamedTuple):
    cursor: str
    node: Artifact
    version: str


class InputEdge(NamedTuple):
    cursor: str
    node: Artifact
    used_as: list[str]


# ------------------------------------------------------------------------------- looking up


def find_artifact(_root: Any, args: Args, ctx: Context) -> Artifact | None:
    """Return a version by id, a deleted one too."""
    found = ctx.world.artifacts.by_id.get(args["id"])
    return found if found is not None and sees(found, ctx) else None


def sees(artifact: Artifact, ctx: Context) -> bool:
    """Tell whether the user may see a version: its project, or one that it is linked to."""
    places = [artifact.sequence, *(one.collection for one in artifact.memberships)]
    return any(ctx.world.visible(one.project, ctx.user) for one in places)


def find_collection(_root: Any, args: Args, ctx: Context) -> Collection | None:
    found = ctx.world.artifacts.collections_by_id.get(args["id"])
    return found if found is not None and ctx.world.visible(found.project, ctx.user) else None


def find_sequence(_root: Any, args: Args, ctx: Context) -> Collection | None:
    found = find_collection(_root, args, ctx)
    return found if found is not None and found.is_sequence else None


def client_id_mapping(_root: Any, args: Args, ctx: Context) -> dict[str, Any] | None:
    known, given = ctx.world.artifacts, args["clientID"]
    entry = known.by_client_id.get(given) or known.collections_by_client_id.get(given)
    return {"clientID": given, "serverID": entry.id, "entry": entry} if entry else None


def membership_of(project: Project, args: Args, ctx: Context) -> Membership | None:
    """Return the member "collection:alias" names; no alias means latest.

    A legacy model registry that was migrated answers from the registry it leads to.
    """
    if project.migrated_to is not None and ctx.world.visible(project.migrated_to, ctx.user):
        project = project.migrated_to
    name, _, alias = args["name"].partition(":")
    collection = shelf(project).collections.get(name)
    return collection.member(alias or "latest") if collection else None


def artifact_by_name(project: Project, args: Args, ctx: Context) -> Artifact | None:
    found = membership_of(project, args, ctx)
    return found.artifact if found else None


def artifact_of_type(kind: ArtifactType, args: Args, ctx: Context) -> Artifact | None:
    found = artifact_by_name(kind.project, args, ctx)
    return found if found is not None and found.type is kind else None


# ------------------------------------------------------------------------------- collections


def collections(found: Iterable[Collection], args: Args, ctx: Context) -> Page:
    """Return a page of the collections that a query's arguments ask for, else the newest first."""
    wanted = {KINDS[kind] for kind in args.get("collectionTypes") or KINDS}
    rows = [one for one in found if one.kind in wanted]
    if not args.get("order"):  # as the client's documentation says of the server
        rows.sort(key=lambda one: one.number, reverse=True)
    rows = artifact_filters.collections(rows, args.get("filters"), args.get("order"))
    return ctx.page("artifactCollections", rows, args)


def of_type(kind: ArtifactType) -> list[Collection]:
    return [one for one in shelf(kind.project).collections.values() if one.type is kind]


def one_of_type(kind: ArtifactType, args: Args, _ctx: Context) -> Collection | None:
    found = shelf(kind.project).collections.get(args["name"])
    return found if found is not None and found.type is kind else None


def collection_project(collection: Collection, _args: Args, ctx: Context) -> Project | None:
    """Return its project; null to those who may not see it."""
    return collection.project if ctx.world.visible(collection.project, ctx.user) else None


def versions(collection: Collection, args: Args, ctx: Context) -> Page:
    """List the versions of a collection, the newest first; without a filter also deleted ones."""
    if collection.is_sequence:
        rows = collection.logged[::-1]
    else:
        rows = [one.artifact for one in reversed(collection.members)]
    rows = artifact_filters.versions(rows, args.get("filters"), args.get("order"))
    page = ctx.page("artifacts", rows, args)
    page.edges = [
        VersionedEdge(at, node, f"v{index_in(node, collection) or 0}") if node else Edge(at, None)
        for at, node in page.edges
    ]
    return page


def index_in(artifact: Artifact, collection: Collection) -> int | None:
    if collection is artifact.sequence:
        return artifact.index
    return next((m.version_index for m in artifact.memberships if m.collection is collection), None)


def collection_aliases(collection: Collection, args: Args, ctx: Context) -> Page:
    rows = [node for member in collection.members for node in alias_nodes(member)]
    return ctx.page("aliases", rows, args)


def tags(collection: Collection, args: Args, ctx: Context) -> Page:
    return ctx.page("tags", [tag_node(name) for name in collection.tags], args)


def tag_node(name: str) -> dict[str, Any]:
    return {
        "id": global_id("Tag", name), "name": name, "attributes": "{}", "tagCategoryName": "model",
    }  # fmt: skip


def member_of(collection: Collection, args: Args, _ctx: Context) -> Membership | None:
    return collection.member(args["aliasName"])


def members(collection: Collection, args: Args, ctx: Context) -> Page:
    return ctx.page("artifactMemberships", collection.members[::-1], args)


# ------------------------------------------------------------------------------- versions


def memberships(artifact: Artifact, ctx: Context) -> list[Membership]:
    return [m for m in artifact.memberships if ctx.world.visible(m.collection.project, ctx.user)]


def aliases(artifact: Artifact, args: Args, ctx: Context) -> list[dict[str, Any]]:
    """Return what a version is called in every collection, or in those of one name."""
    name = args.get("artifactCollectionName")
    found = [m for m in memberships(artifact, ctx) if name in (None, m.collection.name)]
    return [node for member in found for node in alias_nodes(member)]


def alias_nodes(member: Membership) -> list[dict[str, Any]]:
    names = [*member.aliases, f"v{member.version_index}"]
    return [
        {
            "id": global_id("ArtifactAlias", member.number, name), "alias": name,
            "artifact": member.artifact, "artifactCollection": member.collection,
            "artifactCollectionName": member.collection.name,
        }
        for name in names
    ]  # fmt: skip


def version_index(artifact: Artifact, args: Args, _ctx: Context) -> int | None:
    name = args.get("artifactCollectionName")
    found = (m.version_index for m in artifact.memberships if m.collection.name == name)
    return artifact.index if name is None else next(found, None)


def created_by(artifact: Artifact, _args: Args, _ctx: Context) -> Run | User | None:
    creator = artifact.created_by
    return None if isinstance(creator, Run) and creator.deleted_at is not None else creator


def users_of(artifact: Artifact, ctx: Context) -> list[Run]:
    runs = (run for run in artifact.used_by if run.deleted_at is None)
    return [run for run in runs if ctx.world.visible(run.project, ctx.user)]


def used_by(artifact: Artifact, args: Args, ctx: Context) -> Page:
    runs = users_of(artifact, ctx)
    if args.get("filters"):
        runs = ctx.matching(runs, args["filters"])
    return ctx.page("usedBy", runs, args)


def input_artifacts(run: Run, args: Args, ctx: Context) -> Page:
    rows = [one for one in ctx.world.artifacts.inputs.get(run, ()) if sees(one, ctx)]
    rows = artifact_filters.versions(rows, args.get("filters"), args.get("order"))
    page = ctx.page("inputArtifacts", rows, args)
    page.edges = [
        InputEdge(at, node, node.used_by[run]) if node else Edge(at, None)
        for at, node in page.edges
    ]
    return page


def output_artifacts(run: Run, args: Args, ctx: Context) -> Page:
    rows = ctx.world.artifacts.outputs.get(run, ())
    rows = artifact_filters.versions(rows, args.get("filters"), args.get("order"))
    return ctx.page("outputArtifacts", rows, args)


# ------------------------------------------------------------------------------- files


def entry_node(artifact: Artifact, entry: Entry, ctx: Context) -> dict[str, Any]:
    """Return an entry of a manifest as a file; a reference's URL is what it refers to."""
    birth = ctx.world.artifacts.by_id.get(entry.birth_id or "", artifact)
    path = storage_path(birth, entry.digest) if entry.ref is None else None
    url = file_url(path, ctx) if path is not None else entry.ref
    return {
        "__typename": "File", "id": global_id("ArtifactFile", artifact.number, entry.path),
        "name": entry.path, "displayName": entry.path, "url": url, "directUrl": url,
        "uploadUrl": None, "uploadHeaders": [], "sizeBytes": entry.size or 0,
        "md5": entry.digest, "digest": entry.digest, "mimetype": "",
        "updatedAt": artifact.created_at, "createdAt": artifact.created_at, "exists": True,
        "isReference": entry.ref is not None, "storagePath": path, "artifact": birth,
        "uploadMultipartUrls": None,
    }  # fmt: skip


def file_url(path: str, ctx: Context) -> str:
    return f"{ctx.base_url}{ctx.world.signed(f'/storage/{path}')}"


def files(artifact: Artifact, args: Args, ctx: Context) -> Page:
    """List the entries of a manifest, by name; a deleted version has none."""
    entries = artifact.entries if artifact.state != "DELETED" else ()
    if args.get("names") is not None:
        wanted = set(args["names"])
        entries = [entry for entry in entries if entry.path in wanted]
    page = ctx.page("files", entries, args, cap=max(FILES_CAP, ctx.world.page_cap))
    page.edges = [
        edge._replace(node=edge.node and entry_node(artifact, edge.node, ctx))
        for edge in page.edges
    ]
    return page


def files_by_entries(artifact: Artifact, args: Args, ctx: Context) -> Page:
    """Return files for entries that the caller read from a manifest."""
    given = args.get("entries") or ()
    nodes = [
        entry_node(
            artifact,
            Entry(e["name"], e["digest"], e.get("size"), e.get("ref"), e.get("birthArtifactID")),
            ctx,
        )
        for e in given
    ]
    return ctx.page("files", nodes, args, cap=max(FILES_CAP, ctx.world.page_cap))


def manifest(artifact: Artifact, _args: Args, _ctx: Context) -> Manifest | None:
    return artifact.manifest if artifact.state != "DELETED" else None


def manifest_file(found: Manifest, _args: Args, ctx: Context) -> dict[str, Any]:
    """Return the manifest as a file that can be fetched, or put where it is announced."""
    blob = ctx.world.artifacts.blob(found.path)
    url = file_url(found.path, ctx)
    return {
        "__typename": "File", "id": global_id("ArtifactFile", "manifest", found.number),
        "name": "wandb_manifest.json", "displayName": "wandb_manifest.json", "url": url,
        "directUrl": url, "uploadUrl": url, "uploadHeaders": [],
        "sizeBytes": blob.size_bytes if blob else 0, "md5": blob.md5 if blob else "0",
        "digest": blob.md5 if blob else "0", "mimetype": "application/json",
        "updatedAt": blob.updated_at if blob else None, "exists": blob is not None,
        "isReference": False, "storagePath": found.path, "uploadMultipartUrls": None,
        "artifact": found.artifact,
    }  # fmt: skip


# ------------------------------------------------------------------------------- lineage


def lineage(artifact: Artifact, args: Args, ctx: Context) -> dict[str, Any]:
    """Walk from a version both ways, over runs that logged and used, to at most `limit` versions."""
    known = ctx.world.artifacts
    runs: dict[Run, None] = {}
    seen: dict[Artifact, None] = {artifact: None}
    for one in seen_later(seen):
        near = [one.created_by] if isinstance(one.created_by, Run) else []
        for run in [*near, *one.used_by]:
            if run.deleted_at is None and ctx.world.visible(run.project, ctx.user):
                runs[run] = None
                for other in (*known.inputs.get(run, ()), *known.outputs.get(run, ())):
                    if len(seen) < args["limit"] and sees(other, ctx):
                        seen.setdefault(other)
    edges = [edge for one in seen for edge in lineage_edges(one, runs)]
    return {
        "artifacts": [lineage_artifact(one) for one in seen],
        "runs": [lineage_run(one) for one in runs],
        "edges": edges, "hitLimit": len(seen) >= args["limit"],
    }  # fmt: skip


def seen_later(seen: dict[Artifact, None]) -> Iterable[Artifact]:
    """Yield the keys of a dict that grows meanwhile."""
    at = 0
    while at < len(seen):
        yield list(seen)[at]
        at += 1


def lineage_edges(artifact: Artifact, runs: dict[Run, None]) -> list[dict[str, Any]]:
    logged = [artifact.created_by] if artifact.created_by in runs else []
    found = [(run, "TowardArtifact") for run in logged]
    found += [(run, "AwayFromArtifact") for run in artifact.used_by if run in runs]
    return [
        {
            "edgeID": global_id("Edge", artifact.number, run.id, direction),
            "artifactNodeID": artifact.id, "runNodeID": run.id, "direction": direction,
        }
        for run, direction in found
        if isinstance(run, Run)
    ]  # fmt: skip


def lineage_artifact(artifact: Artifact) -> dict[str, Any]:
    project = artifact.sequence.project
    return {
        "artifactNodeID": artifact.id, "artifactTypeName": artifact.type.name,
        "artifactSequenceName": artifact.sequence.name, "artifactCommitHash": artifact.commit_hash,
        "versionIndex": artifact.index or 0, "entityName": project.entity.name,
        "projectName": project.name,
    }  # fmt: skip


def lineage_run(run: Run) -> dict[str, Any]:
    return {
        "runNodeID": run.id, "runName": run.name, "displayName": run.display_name,
        "jobType": run.job_type, "entityName": run.project.entity.name,
        "projectName": run.project.name,
    }  # fmt: skip


# ------------------------------------------------------------------------------- the table


def types(project: Project, args: Args, ctx: Context) -> Page:
    return ctx.page("artifactTypes", list(shelf(project).types.values()), args)


OF_COLLECTIONS: Final[dict[str, Resolver]] = {
    "project": collection_project,
    "artifacts": versions,
    "aliases": collection_aliases,
    "tags": tags,
    "artifactMembership": member_of,
    "artifactMemberships": members,
    "triggers": lambda _one, args, ctx: ctx.page("triggers", [], args),
}
OWN: Final[dict[tuple[str, str], Resolver]] = {
    ("Query", "artifact"): find_artifact,
    ("Query", "artifactCollection"): find_collection,
    ("Query", "artifactSequence"): find_sequence,
    ("Query", "clientIDMapping"): client_id_mapping,
    ("Project", "artifact"): artifact_by_name,
    ("Project", "artifactCollectionMembership"): membership_of,
    ("Project", "artifactType"): lambda project, args, _ctx: shelf(project).types.get(args["name"]),
    ("Project", "artifactTypes"): types,
    ("Project", "artifactCollection"): lambda project, args, _ctx: shelf(project).collections.get(
        args["name"]
    ),
    ("Project", "artifactCollections"): lambda project, args, ctx: collections(
        shelf(project).collections.values(), args, ctx
    ),
    ("ArtifactType", "artifact"): artifact_of_type,
    ("ArtifactType", "artifactCollection"): one_of_type,
    ("ArtifactType", "artifactSequence"): one_of_type,
    ("ArtifactType", "artifactCollections"): lambda kind, args, ctx: collections(
        of_type(kind), args, ctx
    ),
    ("ArtifactType", "artifactSequences"): lambda kind, args, ctx: collections(
        of_type(kind), args | {"collectionTypes": ["SEQUENCE"]}, ctx
    ),
    ("Run", "outputArtifacts"): output_artifacts,
    ("Run", "inputArtifacts"): input_artifacts,
    ("ArtifactSequence", "digestAlgorithm"): value(
        lambda one: one.logged[-1].digest_algorithm if one.logged else None
    ),
    ("Artifact", "artifactType"): value(lambda one: one.type),
    ("Artifact", "artifactSequence"): value(lambda one: one.sequence),
    ("Artifact", "versionIndex"): version_index,
    ("Artifact", "aliases"): aliases,
    ("Artifact", "tags"): value(lambda one: [tag_node(name) for name in one.tags]),
    ("Artifact", "files"): files,
    ("Artifact", "filesByManifestEntries"): files_by_entries,
    ("Artifact", "storageBytes"): value(lambda one: one.size),
    ("Artifact", "ttlIsInherited"): value(lambda one: one.ttl_duration_seconds == -1),
    ("Artifact", "createdBy"): created_by,
    ("Artifact", "usedBy"): used_by,
    ("Artifact", "usedCount"): lambda one, _args, ctx: len(users_of(one, ctx)),
    ("Artifact", "currentManifest"): manifest,
    ("Artifact", "artifactCollections"): lambda one, args, ctx: collections(
        [m.collection for m in memberships(one, ctx)], args, ctx
    ),
    ("Artifact", "artifactMemberships"): lambda one, args, ctx: ctx.page(
        "artifactMemberships", memberships(one, ctx), args
    ),
    ("Artifact", "artifactLineageDag"): lineage,
    ("ArtifactManifest", "file"): manifest_file,
    ("ArtifactManifest", "digest"): value(lambda one: one.digest or one.artifact.digest),
    ("ArtifactCollectionMembershipConnection", "totalCount"): lambda page, _args, ctx: (
        page.total_count if ctx.world.artifacts.counts_memberships else None
    ),
    ("ArtifactCollectionMembership", "aliases"): value(alias_nodes),
    ("ArtifactCollectionMembership", "files"): lambda one, args, ctx: files(
        one.artifact, args, ctx
    ),
}
FIELDS: Final[dict[tuple[str, str], Resolver]] = OWN | {
    (kind, name): resolve for kind in KINDS.values() for name, resolve in OF_COLLECTIONS.items()
}


# ------------------------------------------------------------------------------- older servers

NEWER: Final = {
    ("Artifact", "digestAlgorithm"): "ARTIFACT_DIGEST_ALGORITHM",
    ("ArtifactCollectionMembership", "files"): "ARTIFACT_COLLECTION_MEMBERSHIP_FILES",
    ("Entity", "artifactCollections"): "ARTIFACT_REGISTRY_SEARCH",
    ("Entity", "artifactMemberships"): "ARTIFACT_REGISTRY_SEARCH",
    ("FileConnection", "totalCount"): "TOTAL_COUNT_IN_FILE_CONNECTION",
    ("LinkArtifactPayload", "artifactMembership"): "ARTIFACT_MEMBERSHIP_IN_LINK_ARTIFACT_RESPONSE",
    ("Project", "artifactCollectionMembership"): "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
    ("Project", "artifactCollections"): "COLLECTIONS_OF_PROJECTS",
    ("ArtifactType", "artifactCollections"): "COLLECTIONS_OF_TYPES",
    ("ArtifactAlias", "artifact"): "HOLDERS_OF_ALIASES",
    **{(kind, "artifactMemberships"): "MEMBERSHIPS_OF_COLLECTIONS" for kind in KINDS.values()},
    **{(kind, "aliases"): "ALIASES_OF_COLLECTIONS" for kind in KINDS.values()},
    **{(kind, "artifactMembership"): "MEMBERS_BY_ALIAS" for kind in KINDS.values()},
}
"Fields that a server without the feature does not know; where the feature is None, they are null."
ASSUMED: Final = frozenset(
    {
        "ARTIFACT_COLLECTION_MEMBERSHIP_FILES", "PROJECT_ARTIFACT_COLLECTION_MEMBERSHIP",
        "COLLECTIONS_OF_PROJECTS", "COLLECTIONS_OF_TYPES", "MEMBERSHIPS_OF_COLLECTIONS",
        "ALIASES_OF_COLLECTIONS", "FILTERS_OF_VERSIONS", "HOLDERS_OF_ALIASES", "MEMBERS_BY_ALIAS",
    }
)  # fmt: skip
"""Features that clients take for granted by now: a world without a word on them has them.

`..._OF_...` and MEMBERS_BY_ALIAS have no name on a server of W&B: they are there to be switched off.
"""
NEWER_ARGUMENTS: Final = {
    ("ArtifactType", "artifactCollections"): ("ARTIFACT_COLLECTIONS_FILTERING_SORTING", ("filters", "order")),
    ("Project", "artifactCollections"): ("ARTIFACT_COLLECTIONS_FILTERING_SORTING", ("filters", "order")),
    **{(kind, "artifacts"): ("FILTERS_OF_VERSIONS", ("filters",)) for kind in KINDS.values()},
}  # fmt: skip
"Arguments that came with a feature."


def with_features(fields: dict[tuple[str, str], Resolver]) -> dict[tuple[str, str], Resolver]:
    """Let fields and arguments be refused while the feature they came with is switched off."""
    made = dict(fields)
    for (kind, name), feature in NEWER.items():
        made[kind, name] = newer(fields.get((kind, name)), kind, name, feature)
    for (kind, name), (feature, arguments) in NEWER_ARGUMENTS.items():
        made[kind, name] = with_newer_arguments(made[kind, name], kind, name, feature, arguments)
    return made


def newer(resolve: Resolver | None, kind: str, name: str, feature: str) -> Resolver:
    def checked(found: Any, args: Args, ctx: Context) -> Any:
        enabled = ctx.world.features.get(feature, feature in ASSUMED)
        if enabled is None:
            return None
        if not enabled:
            raise Refused(400, f'Cannot query field "{name}" on type "{kind}".')
        return resolve(found, args, ctx) if resolve is not None else plain(found, name)

    return checked


def plain(found: Any, name: str) -> Any:
    from mirror.sandbox.documents import snake_case

    return found.get(name) if isinstance(found, dict) else getattr(found, snake_case(name))


def with_newer_arguments(
    resolve: Resolver, kind: str, name: str, feature: str, arguments: tuple[str, ...]
) -> Resolver:
    def checked(found: Any, args: Args, ctx: Context) -> Any:
        if not ctx.world.features.get(feature, feature in ASSUMED):
            for argument in arguments:
                if argument in args:
                    raise Refused(400, f'Unknown argument "{argument}" on field "{kind}.{name}".')
        return resolve(found, args, ctx)

    return checked
