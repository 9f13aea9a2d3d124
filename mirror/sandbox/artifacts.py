"""Artifacts: logged by runs into sequences, linked into portfolios, used by other runs.

Contents lie in `World.blobs` under a storage path; a URL carries its signature.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mirror.sandbox.connections import Page, Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.ids import global_id
from mirror.sandbox.mutations import Payload, file_run, mutation, writable
from mirror.sandbox.objects import Project, Run, StoredFile, User
from mirror.sandbox.run_fields import value
from mirror.sandbox.selection import Resolver

# ------------------------------------------------------------------------------- things


@dataclass(slots=True, eq=False)
class ArtifactType:
    number: int
    project: Project
    name: str
    created_at: str
    description: str | None = None

    @property
    def id(self) -> str:
        return global_id("ArtifactType", self.number)


@dataclass(slots=True, eq=False)
class Collection:
    number: int
    kind: str  # ArtifactSequence or ArtifactPortfolio
    project: Project
    type: ArtifactType
    name: str
    created_at: str
    description: str | None = None
    state: str = "READY"
    updated_at: str | None = None
    members: list[Membership] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return global_id("ArtifactCollection", self.number)

    @property
    def default_artifact_type(self) -> ArtifactType:
        return self.type

    def member(self, alias: str) -> Membership | None:
        """Return the version an alias, "v3", or a digest names."""
        for one in self.members:
            if alias in (*one.aliases, f"v{one.version_index}", one.artifact.digest):
                return one
        return None


@dataclass(slots=True, eq=False)
class Membership:
    number: int
    collection: Collection
    artifact: Artifact
    version_index: int
    created_at: str
    aliases: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return global_id("ArtifactCollectionMembership", self.number)

    @property
    def artifact_collection(self) -> Collection:
        return self.collection


@dataclass(slots=True, eq=False)
class Manifest:
    number: int
    artifact: Artifact
    digest: str
    created_at: str
    type: str = "FULL"

    @property
    def id(self) -> str:
        return global_id("ArtifactManifest", self.number)

    @property
    def path(self) -> str:
        return f"manifests/{self.number}.json"


@dataclass(slots=True, eq=False)
class Artifact:
    number: int
    sequence: Collection
    digest: str
    created_at: str
    client_id: str | None = None
    description: str | None = None
    metadata: str | None = None
    state: str = "PENDING"
    digest_algorithm: str = "MANIFEST_MD5"
    history_step: int | None = None
    ttl_duration_seconds: int = -1
    updated_at: str | None = None
    created_by: Run | User | None = None
    used_by: dict[Run, str | None] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    wanted_aliases: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    "Name in the artifact → storage path."
    manifest: Manifest | None = None

    @property
    def id(self) -> str:
        return global_id("Artifact", self.number)

    @property
    def membership(self) -> Membership | None:
        return next((one for one in self.sequence.members if one.artifact is self), None)

    @property
    def commit_hash(self) -> str:
        return hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest()[:20]


@dataclass(slots=True, eq=False)
class Shelf:
    """The artifacts of a project."""

    types: dict[str, ArtifactType] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)


def shelf(project: Project) -> Shelf:
    if project.shelf is None:
        project.shelf = Shelf()
    assert isinstance(project.shelf, Shelf)
    return project.shelf


# ------------------------------------------------------------------------------- looking up


def all_artifacts(ctx: Context) -> Iterator[Artifact]:
    for project in ctx.visible(list(ctx.world.projects.values())):
        yield from shelf(project).artifacts


def artifact_of(identifier: str | None, ctx: Context) -> Artifact:
    for artifact in all_artifacts(ctx):
        if identifier in (artifact.id, artifact.client_id):
            return artifact
    raise Refused(404, "artifact not found")


def find_artifact(_root: Any, args: Args, ctx: Context) -> Artifact | None:
    return next((one for one in all_artifacts(ctx) if one.id == args["id"]), None)


def membership_of(project: Project, args: Args, _ctx: Context) -> Membership | None:
    """Return the member "collection:alias" names; no alias means latest."""
    name, _, alias = args["name"].partition(":")
    collection = shelf(project).collections.get(name)
    return collection.member(alias or "latest") if collection else None


def artifact_by_name(project: Project, args: Args, ctx: Context) -> Artifact | None:
    found = membership_of(project, args, ctx)
    return found.artifact if found else None


def collections(found: Iterable[Collection], args: Args, ctx: Context) -> Page:
    kinds = {"SEQUENCE": "ArtifactSequence", "PORTFOLIO": "ArtifactPortfolio"}
    wanted = {kinds[kind] for kind in args.get("collectionTypes") or kinds}
    rows = [one for one in found if one.kind in wanted and one.state == "READY"]
    return ctx.page("artifactCollections", rows, args)


def of_type(kind: ArtifactType) -> list[Collection]:
    return [one for one in shelf(kind.project).collections.values() if one.type is kind]


def versions(collection: Collection, args: Args, ctx: Context) -> Page:
    """List the versions of a collection, the newest first."""
    rows = [one.artifact for one in reversed(collection.members)]
    return ctx.page("artifacts", filtered(rows, args), args)


def filtered(rows: Iterable[Artifact], args: Args) -> list[Artifact]:
    """Keep what `filters` asks of the state; other conditions are passed over."""
    text = args.get("filters") or ""
    return [one for one in rows if "state" not in text or one.state in text]


def run_artifacts(run: Run, name: str, args: Args, ctx: Context) -> Page:
    rows = [
        one
        for one in all_artifacts(ctx)
        if (one.created_by is run if name == "outputArtifacts" else run in one.used_by)
    ]
    return ctx.page(name, rows, args)


def aliases(artifact: Artifact, _args: Args, _ctx: Context) -> list[dict[str, Any]]:
    member = artifact.membership
    return alias_nodes(member) if member else []


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


# ------------------------------------------------------------------------------- contents


def blob_node(path: str, name: str, ctx: Context) -> dict[str, Any]:
    """Return a stored file as an answer shows it."""
    url = f"{ctx.base_url}/storage/{path}?signature={ctx.world.signature(f'/storage/{path}')}"
    file = ctx.world.blobs.get(path) or StoredFile(0, name)
    return {
        "__typename": "File", "id": global_id("ArtifactFile", path), "name": name,
        "displayName": name, "url": url, "directUrl": url, "uploadUrl": url, "uploadHeaders": [],
        "sizeBytes": file.size_bytes, "md5": file.md5, "digest": file.md5, "mimetype": "",
        "updatedAt": file.updated_at, "exists": file.updated_at is not None,
        "isReference": False, "storagePath": path, "uploadMultipartUrls": None,
    }  # fmt: skip


def files(artifact: Artifact, args: Args, ctx: Context) -> Page:
    names = args.get("names") or sorted(artifact.files)
    rows = [blob_node(artifact.files[name], name, ctx) for name in names if name in artifact.files]
    return ctx.page("files", rows, args, cap=5000)


def size(artifact: Artifact, _args: Args, ctx: Context) -> int:
    blobs = (ctx.world.blobs.get(path) for path in artifact.files.values())
    return sum(blob.size_bytes for blob in blobs if blob is not None)


def manifest_file(manifest: Manifest, _args: Args, ctx: Context) -> dict[str, Any]:
    return blob_node(manifest.path, "wandb_manifest.json", ctx)


# ------------------------------------------------------------------------------- writing


def type_of(project: Project, name: str, ctx: Context) -> ArtifactType:
    types = shelf(project).types
    if name not in types:
        types[name] = ArtifactType(ctx.world.number(), project, name, ctx.world.stamp())
    return types[name]


def collection_of(
    project: Project,
    kind: ArtifactType,
    name: str,
    ctx: Context,
    typename: str = "ArtifactSequence",
) -> Collection:
    found = shelf(project).collections
    if name not in found:
        number, now = ctx.world.number(), ctx.world.stamp()
        found[name] = Collection(number, typename, project, kind, name, now)
    return found[name]


def create_type(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["projectName"], ctx, make=True)
    kind = type_of(project, given["name"], ctx)
    kind.description = given.get("description")
    return {"artifactType": kind}


def create_artifact(given: Args, ctx: Context) -> Payload:
    """Start a version, or return the committed one of the same digest."""
    project = writable(given["entityName"], given["projectName"], ctx, make=True)
    names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
    kind = type_of(project, given["artifactTypeName"], ctx)
    sequence = collection_of(project, kind, names[0], ctx)
    wanted = [one["alias"] for one in given.get("aliases") or ()]
    if given.get("enableDigestDeduplication"):
        for member in sequence.members:
            if member.artifact.digest == given["digest"]:
                place(member, wanted)
                return {"artifact": member.artifact}
    artifact = Artifact(
        ctx.world.number(), sequence, given["digest"], ctx.world.stamp(),
        client_id=given.get("clientID"), description=given.get("description"),
        metadata=given.get("metadata"), digest_algorithm=given["digestAlgorithm"],
        history_step=given.get("historyStep"),
        ttl_duration_seconds=given.get("ttlDurationSeconds") or -1,
        created_by=project.runs.get(given.get("runName") or "") or ctx.user,
        tags=[tag["tagName"] for tag in given.get("tags") or ()], wanted_aliases=wanted,
    )  # fmt: skip
    shelf(project).artifacts.append(artifact)
    return {"artifact": artifact}


def place(member: Membership, names: Iterable[str]) -> None:
    """Give aliases to a version, taking them from those that have them."""
    for name in names:
        for other in member.collection.members:
            other.aliases = [one for one in other.aliases if one != name]
        member.aliases.append(name)


def join(
    collection: Collection, artifact: Artifact, names: Iterable[str], ctx: Context
) -> Membership:
    """Make an artifact the next version of a collection; the newest is `latest`."""
    member = next((one for one in collection.members if one.artifact is artifact), None)
    if member is None:
        index = collection.members[-1].version_index + 1 if collection.members else 0
        now = ctx.world.stamp()
        member = Membership(ctx.world.number(), collection, artifact, index, now)
        collection.members.append(member)
    place(member, dict.fromkeys(["latest", *names]))
    return member


def create_manifest(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    number, now = ctx.world.number(), ctx.world.stamp()
    artifact.manifest = Manifest(number, artifact, given["digest"], now, given["type"])
    return {"artifactManifest": artifact.manifest}


def update_manifest(given: Args, ctx: Context) -> Payload:
    for artifact in all_artifacts(ctx):
        manifest = artifact.manifest
        if manifest is not None and manifest.id == given["artifactManifestID"]:
            manifest.digest = given.get("digest") or manifest.digest
            return {"artifactManifest": manifest}
    raise Refused(404, "artifact manifest not found")


def create_files(given: Args, ctx: Context) -> Payload:
    rows = []
    for spec in given["artifactFiles"]:
        artifact = artifact_of(spec["artifactID"], ctx)
        path = f"artifacts/{artifact.number}/{hex_of(spec['md5'])}"
        artifact.files[spec["name"]] = path
        rows.append(blob_node(path, spec["name"], ctx) | {"artifact": artifact})
    return {"files": ctx.page("files", rows, {"first": len(rows)}, cap=10_000)}


def hex_of(md5: str) -> str:
    return base64.b64decode(md5).hex() or "empty"


def commit(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    artifact.state, artifact.updated_at = "COMMITTED", ctx.world.stamp()
    join(artifact.sequence, artifact, artifact.wanted_aliases, ctx)
    return {"artifact": artifact}


def use(given: Args, ctx: Context) -> Payload:
    artifact, run = artifact_of(given["artifactID"], ctx), file_run(given, ctx)
    artifact.used_by[run] = given.get("usedAs")
    return {"artifact": artifact, "run": run}


def update(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    fields = {"description": "description", "metadata": "metadata", "ttlDurationSeconds": "ttl_duration_seconds"}  # fmt: skip
    for name, attribute in fields.items():
        if given.get(name) is not None:
            setattr(artifact, attribute, given[name])
    gone = {tag["tagName"] for tag in given.get("tagsToDelete") or ()}
    added = [tag["tagName"] for tag in given.get("tagsToAdd") or ()]
    artifact.tags = list(dict.fromkeys([*(t for t in artifact.tags if t not in gone), *added]))
    if given.get("aliases") is not None and artifact.membership is not None:
        artifact.membership.aliases = []
        place(artifact.membership, [one["alias"] for one in given["aliases"]])
    artifact.updated_at = ctx.world.stamp()
    return {"artifact": artifact}


def change_aliases(given: Args, ctx: Context, *, add: bool) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    for one in given["aliases"]:
        project = writable(one["entityName"], one["projectName"], ctx)
        collection = shelf(project).collections.get(one["artifactCollectionName"])
        for member in collection.members if collection else ():
            if member.artifact is artifact and add:
                place(member, [one["alias"]])
            elif member.artifact is artifact:
                member.aliases = [name for name in member.aliases if name != one["alias"]]
    return {"success": True, "artifact": artifact}


def link(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given.get("artifactID") or given.get("clientID"), ctx)
    project = writable(given.get("entityName"), given.get("projectName"), ctx)
    kind = type_of(project, artifact.sequence.type.name, ctx)
    name = given.get("artifactPortfolioName") or ""
    portfolio = collection_of(project, kind, name, ctx, "ArtifactPortfolio")
    names = [one["alias"] for one in given.get("aliases") or ()]
    member = join(portfolio, artifact, names, ctx)
    return {
        "versionIndex": member.version_index, "artifactID": artifact.id,
        "artifactCollectionID": portfolio.id, "artifactMembership": member,
        "createdAt": member.created_at,
    }  # fmt: skip


def delete(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    member = artifact.membership
    if member is not None and member.aliases and not given.get("deleteAliases"):
        raise Refused(400, "artifact has aliases; remove them, or delete with delete_aliases")
    if member is not None:
        artifact.sequence.members.remove(member)
    artifact.state = "DELETED"
    return {"artifact": artifact}


def tag_node(name: str) -> dict[str, Any]:
    return {
        "id": global_id("Tag", name),
        "name": name,
        "attributes": "{}",
        "tagCategoryName": "model",
    }


ARTIFACT_FIELDS: Final[dict[tuple[str, str], Resolver]] = {
    ("Query", "artifact"): find_artifact,
    ("Project", "artifact"): artifact_by_name,
    ("Project", "artifactCollectionMembership"): membership_of,
    ("Project", "artifactType"): lambda project, args, _ctx: shelf(project).types.get(args["name"]),
    ("Project", "artifactTypes"): lambda project, args, ctx: ctx.page(
        "artifactTypes", list(shelf(project).types.values()), args
    ),
    ("Project", "artifactCollection"): lambda project, args, _ctx: shelf(project).collections.get(
        args["name"]
    ),
    ("Project", "artifactCollections"): lambda project, args, ctx: collections(
        shelf(project).collections.values(), args, ctx
    ),
    ("ArtifactType", "artifactCollection"): lambda kind, args, _ctx: next(
        (one for one in of_type(kind) if one.name == args["name"]), None
    ),
    ("ArtifactType", "artifactCollections"): lambda kind, args, ctx: collections(
        of_type(kind), args, ctx
    ),
    ("Run", "outputArtifacts"): lambda run, args, ctx: run_artifacts(run, "outputArtifacts", args, ctx),
    ("Run", "inputArtifacts"): lambda run, args, ctx: run_artifacts(run, "inputArtifacts", args, ctx),
    ("InputArtifactEdge", "usedAs"): value(lambda _edge: []),
    ("VersionedArtifactEdge", "version"): value(
        lambda edge: f"v{edge.node.membership.version_index if edge.node.membership else 0}"
    ),
    ("Artifact", "artifactType"): value(lambda one: one.sequence.type),
    ("Artifact", "artifactSequence"): value(lambda one: one.sequence),
    ("Artifact", "versionIndex"): value(
        lambda one: one.membership.version_index if one.membership else None
    ),
    ("Artifact", "aliases"): aliases,
    ("Artifact", "tags"): value(lambda one: list(map(tag_node, one.tags))),
    ("Artifact", "files"): files,
    ("Artifact", "fileCount"): value(lambda one: len(one.files)),
    ("Artifact", "size"): size,
    ("Artifact", "storageBytes"): size,
    ("Artifact", "ttlIsInherited"): value(lambda one: one.ttl_duration_seconds == -1),
    ("Artifact", "usedBy"): lambda one, args, ctx: ctx.page("usedBy", list(one.used_by), args),
    ("Artifact", "usedCount"): value(lambda one: len(one.used_by)),
    ("Artifact", "currentManifest"): value(lambda one: one.manifest),
    ("Artifact", "artifactCollections"): lambda one, args, ctx: collections(
        [m.collection for m in memberships(one, ctx)], args, ctx
    ),
    ("Artifact", "artifactMemberships"): lambda one, args, ctx: ctx.page(
        "artifactMemberships", memberships(one, ctx), args
    ),
    ("ArtifactManifest", "file"): manifest_file,
    ("ArtifactCollectionMembership", "aliases"): value(alias_nodes),
    ("ArtifactCollectionMembership", "commitHash"): value(lambda one: one.artifact.commit_hash),
    ("ArtifactCollectionMembership", "files"): lambda one, args, ctx: files(one.artifact, args, ctx),
} | {
    (kind, name): resolve
    for kind in ("ArtifactSequence", "ArtifactPortfolio")
    for name, resolve in {
        "artifacts": versions,
        "aliases": lambda one, args, ctx: ctx.page(
            "aliases", [node for m in one.members for node in alias_nodes(m)], args
        ),
        "tags": lambda one, args, ctx: ctx.page("tags", list(map(tag_node, one.tags)), args),
        "artifactMembership": lambda one, args, _ctx: one.member(args["aliasName"]),
        "artifactMemberships": lambda one, args, ctx: ctx.page(
            "artifactMemberships", one.members[::-1], args
        ),
        "triggers": lambda _one, args, ctx: ctx.page("triggers", [], args),
    }.items()
}  # fmt: skip
ARTIFACT_MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", "createArtifactType"): mutation(create_type),
    ("Mutation", "createArtifact"): mutation(create_artifact),
    ("Mutation", "createArtifactManifest"): mutation(create_manifest),
    ("Mutation", "updateArtifactManifest"): mutation(update_manifest),
    ("Mutation", "createArtifactFiles"): mutation(create_files),
    ("Mutation", "commitArtifact"): mutation(commit),
    ("Mutation", "useArtifact"): mutation(use),
    ("Mutation", "updateArtifact"): mutation(update),
    ("Mutation", "deleteArtifact"): mutation(delete),
    ("Mutation", "addAliases"): mutation(lambda given, ctx: change_aliases(given, ctx, add=True)),
    ("Mutation", "deleteAliases"): mutation(
        lambda given, ctx: change_aliases(given, ctx, add=False)
    ),
    ("Mutation", "linkArtifact"): mutation(link),
}


def memberships(artifact: Artifact, ctx: Context) -> list[Membership]:
    return [
        member
        for project in ctx.visible(list(ctx.world.projects.values()))
        for collection in shelf(project).collections.values()
        for member in collection.members
        if member.artifact is artifact
    ]
