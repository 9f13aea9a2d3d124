"""What clients may change about artifacts: logged, used, linked, edited, deleted; collections too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mirror.sandbox.artifact_objects import (
    Artifact,
    ArtifactType,
    Collection,
    Manifest,
    Membership,
    shelf,
)
from mirror.sandbox.artifact_world import entries_of, storage_path
from mirror.sandbox.artifacts import file_url, find_collection, sees, tag_node
from mirror.sandbox.connections import Refused
from mirror.sandbox.context import Args, Context
from mirror.sandbox.mutations import Payload, file_run, mutation, writable
from mirror.sandbox.objects import Project
from mirror.sandbox.selection import Resolver

TAG: Final = re.compile(r"[-\w]+( +[-\w]+)*")
TAGS_A_CALL: Final = 20
NAME_LENGTH: Final = 128

# ------------------------------------------------------------------------------- looking up


def artifact_of(identifier: str | None, ctx: Context) -> Artifact:
    """Return the version of a global id, or of a client's id. Raises Refused."""
    known = ctx.world.artifacts
    found = known.by_id.get(identifier or "") or known.by_client_id.get(identifier or "")
    if found is None or not sees(found, ctx):
        raise Refused(404, "artifact not found")
    return found


def collection_of(identifier: str, ctx: Context, kind: str) -> Collection:
    found = find_collection(None, {"id": identifier}, ctx)
    if found is None or found.kind != kind or found.state != "READY":
        raise Refused(404, "artifact collection not found")
    return found


def named_collection(given: Args, ctx: Context) -> Collection:
    project = writable(given["entityName"], given["projectName"], ctx)
    found = shelf(project).collections.get(given["artifactCollectionName"])
    if found is None:
        raise Refused(404, f"artifact collection {given['artifactCollectionName']!r} not found")
    return found


def tag_names(given: Args, field: str = "tags") -> list[str]:
    """Return the tags an input holds. Raises Refused for what is no tag, or too many."""
    found = [tag["tagName"] for tag in given.get(field) or ()]
    if len(found) > TAGS_A_CALL:
        raise Refused(400, f"at most {TAGS_A_CALL} tags can be changed at once")
    for name in found:
        if len(name) > NAME_LENGTH or TAG.fullmatch(name) is None:
            raise Refused(400, f"invalid tag name {name!r}")
    return found


def alias_names(given: Args) -> list[str]:
    """Return the aliases of an input, without v<N>, which nobody can set. Raises Refused."""
    found = [one["alias"] for one in given.get("aliases") or ()]
    for name in found:
        if not name or "/" in name or ":" in name:
            raise Refused(400, f"invalid alias {name!r}")
    return [name for name in found if re.fullmatch(r"v\d+", name) is None]


# ------------------------------------------------------------------------------- logging


def create_type(given: Args, ctx: Context) -> Payload:
    project = writable(given["entityName"], given["projectName"], ctx, make=True)
    kind = ctx.world.artifacts.add_type(project, given["name"])
    kind.description = given.get("description")
    return {"artifactType": kind}


def create_artifact(given: Args, ctx: Context) -> Payload:
    """Start a version, or return the committed one of the same digest."""
    known = ctx.world.artifacts
    project = writable(given["entityName"], given["projectName"], ctx, make=True)
    name = [*(given.get("artifactCollectionNames") or ()), given.get("artifactCollectionName")][0]
    sequence = sequence_of(project, name, given, ctx)
    wanted, tags = alias_names(given), tag_names(given)
    if given.get("enableDigestDeduplication"):
        for member in reversed(sequence.members):
            if member.artifact.digest == given["digest"]:
                known.give(member, wanted)
                retag(member.artifact, tags, (), ctx)
                return {"artifact": member.artifact}
    run = project.runs.get(given.get("runName") or "")
    made = Artifact(
        ctx.world.number(), sequence, given["digest"], ctx.world.stamp(),
        client_id=given.get("clientID"), description=given.get("description"),
        metadata=given.get("metadata"), digest_algorithm=given["digestAlgorithm"],
        history_step=given.get("historyStep"), created_by=run or ctx.user, tags=tags,
        ttl_duration_seconds=ttl(given), wanted_aliases=["latest", *wanted],
    )  # fmt: skip
    known.add(made)
    return {"artifact": made}


def ttl(given: Args, old: int = -1) -> int:
    """Return the time to live as it is kept: -1 inherited, 0 none. An input of -2 disables it."""
    asked = given.get("ttlDurationSeconds")
    if asked is None:
        return old
    return 0 if asked == -2 else int(asked)


def sequence_of(project: Project, name: str | None, given: Args, ctx: Context) -> Collection:
    """Return the sequence that is logged to, made if need be. Raises Refused."""
    if not name or len(name) > NAME_LENGTH or "/" in name:
        raise Refused(400, f"invalid artifact name {name!r}")
    wanted = given["artifactTypeName"]
    found = shelf(project).collections.get(name)
    if found is None:
        found = ctx.world.artifacts.add_collection(f"{project.path}/{name}", wanted)
        if given.get("sequenceClientID"):
            ctx.world.artifacts.collections_by_client_id[given["sequenceClientID"]] = found
    if not found.is_sequence:
        raise Refused(400, f"{name!r} is a portfolio; artifacts are linked to it, not logged")
    if found.type.name != wanted:
        raise Refused(
            409, f"artifact {name!r} is of type {found.type.name!r}, it cannot be of {wanted!r}"
        )
    return found


def create_manifest(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    made = ctx.world.artifacts.add_manifest(
        artifact, given["digest"], type=given["type"], base_id=given.get("baseArtifactID")
    )
    return {"artifactManifest": made}


def update_manifest(given: Args, ctx: Context) -> Payload:
    found = ctx.world.artifacts.manifests_by_id.get(given["artifactManifestID"])
    if found is None or not sees(found.artifact, ctx):
        raise Refused(404, "artifact manifest not found")
    found.digest = given.get("digest") or found.digest
    return {"artifactManifest": found}


def create_files(given: Args, ctx: Context) -> Payload:
    """Announce files; those that an older version has need no upload."""
    rows = [announced(spec, ctx) for spec in given["artifactFiles"]]
    return {"files": ctx.page("files", rows, {"first": len(rows)}, cap=10_000)}


def announced(spec: Mapping[str, Any], ctx: Context) -> dict[str, Any]:
    known, artifact = ctx.world.artifacts, artifact_of(spec["artifactID"], ctx)
    digest = spec.get("digest") or spec["md5"]
    birth = known.birth(artifact, spec["name"], digest)
    path = storage_path(birth, digest)
    parts = spec.get("uploadPartsInput")
    url = None if birth is not artifact else file_url(path, ctx)
    return {
        "__typename": "File", "id": path, "name": spec["name"], "displayName": spec["name"],
        "url": file_url(path, ctx), "directUrl": file_url(path, ctx),
        "uploadUrl": None if parts else url, "uploadHeaders": [], "sizeBytes": 0,
        "md5": spec["md5"], "digest": digest, "exists": url is None, "isReference": False,
        "storagePath": path, "artifact": birth,
        "uploadMultipartUrls": multipart(path, parts, ctx) if parts and url else None,
    }  # fmt: skip


def multipart(path: str, parts: list[dict[str, Any]], ctx: Context) -> dict[str, Any]:
    """Return where the parts of a large file go; each is put under a storage path of its own."""
    upload = str(ctx.world.number())
    return {
        "uploadID": upload,
        "uploadUrlParts": [
            {
                "partNumber": part["partNumber"],
                "uploadUrl": file_url(part_path(path, upload, part["partNumber"]), ctx),
            }
            for part in parts
        ],
    }


def part_path(path: str, upload: str, number: int) -> str:
    return f"parts/{upload}/{number}/{path}"


def complete_multipart(given: Args, ctx: Context) -> Payload:
    """Join the parts of a file. Raises Refused if one is missing."""
    artifact_of(given["artifactID"], ctx)
    contents, body = ctx.world.artifacts.contents, b""
    numbers = sorted(part["partNumber"] for part in given["completedParts"])
    paths = [part_path(given["storagePath"], given["uploadID"], number) for number in numbers]
    for path in paths:
        part = contents.get(path)
        if part is None:
            raise Refused(400, f"there is no such part: {path}")
        body += part.read()
    for path in paths:
        contents.remove(path)
    return {"digest": contents.put(given["storagePath"], body, ctx.world.stamp()).md5}


def commit(given: Args, ctx: Context) -> Payload:
    """Commit a version: its manifest, which has been put by now, says what is in it."""
    artifact = artifact_of(given["artifactID"], ctx)
    if artifact.state == "PENDING":
        if artifact.manifest is not None:
            read_manifest(artifact, artifact.manifest, ctx)
        ctx.world.artifacts.commit(artifact)
    return {"artifact": artifact}


def read_manifest(artifact: Artifact, manifest: Manifest, ctx: Context) -> None:
    """Take the entries of the manifest that was put; an incremental one adds to those of its base."""
    contents = ctx.world.artifacts.contents
    blob = contents.get(manifest.path)
    if blob is None:
        return
    try:
        entries = entries_of(blob.read())
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(400, "artifact manifest cannot be read") from error
    base = ctx.world.artifacts.by_id.get(manifest.base_id or "")
    if manifest.type == "INCREMENTAL" and base is not None:
        own = {entry.path for entry in entries}
        entries += [entry for entry in base.entries if entry.path not in own]
        contents.remove(manifest.path)  # from now on it is written from the entries
    ctx.world.artifacts.fill(artifact, sorted(entries, key=lambda entry: entry.path))


# ------------------------------------------------------------------------------- using, editing


def use(given: Args, ctx: Context) -> Payload:
    artifact, run = artifact_of(given["artifactID"], ctx), file_run(given, ctx)
    if artifact.state == "DELETED":
        raise Refused(400, "artifact is deleted")
    ctx.world.artifacts.use(artifact, run, given.get("usedAs"))
    return {"artifact": artifact, "run": run}


def update(given: Args, ctx: Context) -> Payload:
    """Change a version; a field that is null is left alone."""
    artifact = artifact_of(given["artifactID"], ctx)
    changes = {k: given[k] for k in ("description", "metadata") if given.get(k) is not None}
    ctx.world.artifacts.edit(
        artifact, ttl_duration_seconds=ttl(given, artifact.ttl_duration_seconds), **changes
    )
    retag(artifact, tag_names(given, "tagsToAdd"), tag_names(given, "tagsToDelete"), ctx)
    member = artifact.membership
    if given.get("aliases") is not None and member is not None:
        wanted = alias_names(given)
        ctx.world.artifacts.take(member, [name for name in member.aliases if name not in wanted])
        ctx.world.artifacts.give(member, wanted)
    return {"artifact": artifact}


def retag(artifact: Artifact, add: list[str], remove: Any, ctx: Context) -> None:
    wanted = list(dict.fromkeys([*(t for t in artifact.tags if t not in remove), *add]))
    if wanted != artifact.tags:
        ctx.world.artifacts.edit(artifact, tags=wanted)


def add_aliases(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    for one in given["aliases"]:
        member = member_in(artifact, named_collection(one, ctx))
        ctx.world.artifacts.give(member, alias_names({"aliases": [one]}))
    return {"success": True, "artifact": artifact}


def delete_aliases(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    for one in given["aliases"]:
        ctx.world.artifacts.take(member_in(artifact, named_collection(one, ctx)), [one["alias"]])
    return {"success": True}


def member_in(artifact: Artifact, collection: Collection) -> Membership:
    for member in artifact.memberships:
        if member.collection is collection:
            return member
    raise Refused(404, f"artifact is no member of {collection.name!r}")


def delete(given: Args, ctx: Context) -> Payload:
    """Delete a version; one with aliases only if asked to, and a second time it succeeds too."""
    artifact = artifact_of(given["artifactID"], ctx)
    aliased = any(member.aliases for member in artifact.memberships)
    if aliased and not given.get("deleteAliases"):
        raise Refused(400, "artifact has aliases; remove them, or delete with delete_aliases")
    if artifact.state != "DELETED":
        ctx.world.artifacts.delete(artifact)
    return {"artifact": artifact}


# ------------------------------------------------------------------------------- links


def link(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given.get("artifactID") or given.get("clientID"), ctx)
    if artifact.state != "COMMITTED":
        raise Refused(400, "only committed artifacts can be linked")
    target = link_target(given, artifact, ctx)
    member = ctx.world.artifacts.link(artifact, target, alias_names(given))
    return {
        "versionIndex": member.version_index, "artifactID": artifact.id,
        "artifactCollectionID": member.collection.id, "artifactMembership": member,
        "createdAt": member.created_at,
    }  # fmt: skip


def link_target(given: Args, artifact: Artifact, ctx: Context) -> str:
    """Return the path of the portfolio to link to, which may be a new one. Raises Refused."""
    if given.get("artifactPortfolioID"):
        found: Collection | None = collection_of(
            given["artifactPortfolioID"], ctx, "ArtifactPortfolio"
        )
        assert found is not None
        project, name = found.project, found.name
    else:
        project = writable(given.get("entityName"), given.get("projectName"), ctx)
        name = given.get("artifactPortfolioName") or ""
        found = shelf(project).collections.get(name)
    project = project.migrated_to or project
    kind = artifact.type.name
    if found is not None and found.is_sequence:
        raise Refused(400, f"{name!r} is a sequence; artifacts cannot be linked to it")
    if found is not None and found.type.name != kind:
        raise Refused(400, f"{name!r} is for artifacts of type {found.type.name!r}, not {kind!r}")
    if not project.allow_all_artifact_types and kind not in shelf(project).types:
        raise Refused(400, f"registry {project.name!r} does not take artifacts of type {kind!r}")
    if not name or len(name) > NAME_LENGTH or "/" in name:
        raise Refused(400, f"invalid collection name {name!r}")
    return f"{project.path}/{name}"


def unlink(given: Args, ctx: Context) -> Payload:
    artifact = artifact_of(given["artifactID"], ctx)
    portfolio = collection_of(given["artifactPortfolioID"], ctx, "ArtifactPortfolio")
    ctx.world.artifacts.leave(member_in(artifact, portfolio))
    return {"success": True, "artifactID": artifact.id}


def map_client_id(given: Args, ctx: Context) -> Payload:
    known, server_id = ctx.world.artifacts, given["serverID"]
    if server_id in known.collections_by_id:
        entry: Artifact | Collection = known.collections_by_id[server_id]
        known.collections_by_client_id[given["clientID"]] = known.collections_by_id[server_id]
    else:
        entry = known.by_client_id[given["clientID"]] = artifact_of(server_id, ctx)
    return {
        "clientIDMapping": {"clientID": given["clientID"], "serverID": server_id, "entry": entry}
    }


# ------------------------------------------------------------------------------- collections


def create_collection(kind: str) -> Any:
    def create(given: Args, ctx: Context) -> Payload:
        project = writable(given["entityName"], given["projectName"], ctx)
        types: list[ArtifactType] = list(shelf(project).types.values())
        found = next((one for one in types if one.id == given["artifactTypeID"]), None)
        if found is None:
            raise Refused(404, "artifact type not found")
        try:
            made = ctx.world.artifacts.add_collection(
                f"{project.path}/{given['name']}", found.name, kind,
                description=given.get("description"),
            )  # fmt: skip
        except ValueError as error:
            raise Refused(409, str(error)) from error
        return {"artifactCollection": made}

    return create


def update_collection(kind: str, identifier: str) -> Any:
    def change(given: Args, ctx: Context) -> Payload:
        one = collection_of(given[identifier], ctx, kind)
        name, description = given.get("name"), given.get("description")
        try:
            ctx.world.artifacts.edit_collection(one, name=name, description=description)
        except ValueError as error:
            raise Refused(409, str(error)) from error
        return {"artifactCollection": one}

    return change


def delete_collection(kind: str, identifier: str) -> Any:
    def change(given: Args, ctx: Context) -> Payload:
        one = collection_of(given[identifier], ctx, kind)
        return {"artifactCollection": ctx.world.artifacts.delete_collection(one)}

    return change


def move_sequence(given: Args, ctx: Context) -> Payload:
    one = collection_of(given["artifactSequenceID"], ctx, "ArtifactSequence")
    ctx.world.artifacts.edit_collection(one, type=given["destinationArtifactTypeName"])
    return {"artifactCollection": one}


def tag_collection(given: Args, ctx: Context) -> Payload:
    one, names = named_collection(given, ctx), tag_names(given)
    ctx.world.artifacts.edit_collection(one, tags=[*one.tags, *names])
    return {"tags": [tag_node(name) for name in names]}


def untag_collection(given: Args, ctx: Context) -> Payload:
    one, gone = named_collection(given, ctx), tag_names(given)
    ctx.world.artifacts.edit_collection(one, tags=[tag for tag in one.tags if tag not in gone])
    return {"success": True}


ARTIFACT_MUTATIONS: Final[dict[tuple[str, str], Resolver]] = {
    ("Mutation", name): mutation(change)
    for name, change in {
        "createArtifactType": create_type,
        "createArtifact": create_artifact,
        "createArtifactManifest": create_manifest,
        "updateArtifactManifest": update_manifest,
        "createArtifactFiles": create_files,
        "completeMultipartUploadArtifact": complete_multipart,
        "commitArtifact": commit,
        "useArtifact": use,
        "updateArtifact": update,
        "deleteArtifact": delete,
        "addAliases": add_aliases,
        "deleteAliases": delete_aliases,
        "linkArtifact": link,
        "unlinkArtifact": unlink,
        "createClientIDMapping": map_client_id,
        "createArtifactSequence": create_collection("sequence"),
        "createArtifactPortfolio": create_collection("portfolio"),
        "updateArtifactSequence": update_collection("ArtifactSequence", "artifactSequenceID"),
        "updateArtifactPortfolio": update_collection("ArtifactPortfolio", "artifactPortfolioID"),
        "deleteArtifactSequence": delete_collection("ArtifactSequence", "artifactSequenceID"),
        "deleteArtifactPortfolio": delete_collection("ArtifactPortfolio", "artifactPortfolioID"),
        "moveArtifactSequence": move_sequence,
        "createArtifactCollectionTagAssignments": tag_collection,
        "deleteArtifactCollectionTagAssignments": untag_collection,
    }.items()
}
