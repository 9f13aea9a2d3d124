"""What the real package does with artifacts: run by test_sandbox_real_artifacts.py in a process of its own.

It prints one JSON object of what it saw; the test says what that must be.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import wandb
from wandb.apis.public import Registry

QUIET = wandb.Settings(quiet=True)
HERE = Path.cwd()


def fails_with(call: Any) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the name of whatever it raises is what is asked
        return type(error).__name__
    return "nothing"


def tree(folder: str | Path) -> dict[str, str]:
    root = Path(folder)
    return {
        str(one.relative_to(root)): one.read_text()
        for one in sorted(root.rglob("*"))
        if one.is_file()
    }


def write_folder() -> Path:
    folder = HERE / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "top.txt").write_text("top")
    (folder / "deep" / "er" / "größe 1.txt").write_text("deep")
    (folder / "empty.txt").write_text("")
    return folder


def log() -> dict[str, Any]:
    """Versions of one collection: a folder, the same again, one file changed, references."""
    folder = write_folder()
    seen: dict[str, Any] = {}
    with wandb.init(entity="team", project="made", id="logs", settings=QUIET) as run:
        for number, text in enumerate(("one", "one", "two")):
            data = wandb.Artifact("data", "dataset", metadata={"k": number, "nan": float("nan")})
            data.add_dir(str(folder), name="folder")
            with data.new_file("f.txt") as file:
                file.write(text)
            data.add_reference(f"file://{folder / 'top.txt'}", name="near.txt")
            logged = run.log_artifact(data, aliases=["best"] if number == 0 else None, tags=["a b"])
            logged.wait()
            seen.setdefault("versions", []).append(logged.version)
        model = wandb.Artifact("net", "model", description="a net", digest_algorithm="XXH128")
        with model.new_file("weights.bin") as file:
            file.write("w" * 1000)
        run.log_artifact(model).wait()
        far = wandb.Artifact("far", "dataset")
        far.add_reference("hdfs://host/key", name="far")  # a scheme that nothing fetches
        run.log_artifact(far).wait()
        run.link_artifact(model, "team/shelf/nets", aliases=["first"])
    with wandb.init(entity="team", project="made", id="uses", settings=QUIET) as run:
        used = run.use_artifact("data:best", use_as="train")
        seen["used"] = [used.version, sorted(used.aliases), used.metadata, used.tags]
        derived = used.new_draft()
        with derived.new_file("more.txt") as file:
            file.write("more")
        derived.remove("f.txt")
        run.log_artifact(derived).wait()
    return seen


def read() -> dict[str, Any]:
    api = wandb.Api()
    first, last = api.artifact("team/made/data:v0"), api.artifact("team/made/data:latest")
    down = last.download(root="down")
    model = api.artifact("team/made/net:v0")
    return {
        "down": tree(down),
        "prefix": list(tree(first.download(root="prefix", path_prefix="folder/deep"))),
        "one": Path(first.get_entry("f.txt").download(root="one")).read_text(),
        "verified": fails_with(lambda: model.verify(root=model.download(root="model"))),
        "checkout": fails_with(lambda: model.checkout(root="model")),
        "multipart": len(Path(model.download(root="parts", multipart=True), "weights.bin").read_bytes()),
        "entries": sorted(last.manifest.entries),
        "born": last.manifest.entries["folder/top.txt"].birth_artifact_id == first.id,
        "refs": api.artifact("team/made/far:v0").manifest.entries["far"].ref,
        "digest": first.digest == digest(first),
        "sizes": [first.size, first.file_count, model.size],
        "algorithm": [first.digest_algorithm, model.digest_algorithm],
        "files": sorted(one.name for one in last.files()),
        "file_count": len(first.files()),
        "named": [one.name for one in first.files(names=["f.txt", "nothing"])],
        "logged_by": [one.logged_by().id for one in (first, last)],
        "used_by": [one.id for one in first.used_by()],
        "logged": sorted(one.name for one in api.run("team/made/logs").logged_artifacts()),
        "inputs": [one.name for one in api.run("team/made/uses").used_artifacts()],
        "types": sorted(one.name for one in api.artifact_types("team/made")),
        "collections": [one.name for one in api.artifact_collections("team/made", "dataset")],
        "listed": [one.name for one in api.artifacts("dataset", "team/made/data")],
        "ordered": [one.name for one in api.artifacts("dataset", "team/made/data", order="+created_at")],
        "tagged": [one.name for one in api.artifacts("dataset", "team/made/data", tags=["a b"])],
        "exists": [api.artifact_exists(f"team/made/{one}") for one in ("data:v1", "data:v9", "no:v0")],
        "missing": fails_with(lambda: api.artifact("team/made/data:nothing")),
        "links": [one.qualified_name for one in model.linked_artifacts],
        "by_digest": api.artifact(f"team/made/data:{first.digest}").version,
        "aliases": sorted(api.artifact_collection("dataset", "team/made/data").aliases),
        "is_sequence": [
            api.artifact_collection("dataset", "team/made/data").is_sequence(),
            api.artifact_collection("model", "team/shelf/nets").is_sequence(),
        ],
    }  # fmt: skip


def digest(artifact: Any) -> str:
    lines = "".join(
        f"{name}:{entry.digest}\n" for name, entry in sorted(artifact.manifest.entries.items())
    )
    return hashlib.md5(f"wandb-artifact-manifest-v1\n{lines}".encode()).hexdigest()


def change() -> dict[str, Any]:
    """Edit, move aliases, tag, delete."""
    version = wandb.Api().artifact("team/made/data:v0")
    version.description, version.metadata = "edited", {"k": [1, {"n": None}]}
    version.aliases.append("prod")
    version.tags = ["new"]
    version.ttl = timedelta(days=2)
    version.save()
    moved = wandb.Api().artifact("team/made/data:v1")
    moved.aliases.append("prod")
    moved.save()
    again = wandb.Api().artifact("team/made/data:v0")
    collection = wandb.Api().artifact_collection("dataset", "team/made/data")
    collection.description, collection.tags, collection.name = "all of it", ["t1", "t2"], "renamed"
    collection.save()
    collection = wandb.Api().artifact_collection("dataset", "team/made/renamed")
    collection.tags = ["t2"]
    collection.save()
    seen = {
        "edited": [again.description, again.metadata, again.tags, again.aliases, str(again.ttl)],
        "collection": [collection.name, collection.description, wandb.Api().artifact_collection("dataset", "team/made/renamed").tags],
        "aliased": fails_with(lambda: wandb.Api().artifact("team/made/renamed:latest").delete()),
    }  # fmt: skip
    wandb.Api().artifact("team/made/renamed:latest").delete(delete_aliases=True)
    seen["left"] = [one.name for one in wandb.Api().artifacts("dataset", "team/made/renamed")]
    seen["latest"] = wandb.Api().artifact("team/made/renamed:latest").version
    seen |= rename_types()
    wandb.Api().artifact_collection("model", "team/shelf/nets").delete()
    seen["unlinked"] = wandb.Api().artifact("team/made/net:v0").linked_artifacts
    return seen


def rename_types() -> dict[str, Any]:
    """Another type for a collection, an alias taken away, a sequence deleted."""
    api = wandb.Api()
    far = api.artifact_collection("dataset", "team/made/far")
    far.type = "pointer"
    far.save()
    version = wandb.Api().artifact("team/made/renamed:v1")
    version.aliases.remove("prod")
    version.save()
    project = wandb.Api().project("made", entity="team")
    seen = {
        "type": api.artifact_type("pointer", "team/made").name,
        "retyped": [[one.name, one.type] for one in project.collections(order="name")],
        "chosen": [one.name for one in project.collections(filters={"tag": "t2"})],
        "without_alias": wandb.Api().artifact("team/made/renamed:v1").aliases,
    }
    wandb.Api().artifact_collection("pointer", "team/made/far").delete()
    seen["deleted_collection"] = api.artifact_collection_exists("team/made/far", "pointer")
    return seen


def registries() -> dict[str, Any]:
    """Registries made, linked to, searched, given members, renamed and deleted."""
    api = wandb.Api()
    made = api.create_registry(
        "models", visibility="restricted", organization="acme", description="of all",
        artifact_types=["model"],
    )  # fmt: skip
    api.create_registry("all", visibility="organization", organization="acme")
    source = api.artifact("team/made/net:v0")
    linked = source.link("wandb-registry-models/nets", aliases=["prod"])
    data = api.artifact("team/made/renamed:v0")
    data.link("wandb-registry-all/sets")
    data.link("wandb-registry-all/sets")
    api.artifact("team/made/renamed:v1").link("acme/wandb-registry-all/sets", ["prod"])
    nets = api.artifact_collection("model", "wandb-registry-models/nets")
    nets.tags, nets.description = ["fast", "small"], "linked nets"
    nets.save()
    made.add_members(api.user("bob"), api.team("team"))
    made.update_member(api.user("bob"), "admin")
    members = sorted([one.kind.value, one.team.name if one.kind.value == "Entity" else one.user.username, one.role] for one in members_of(made))  # fmt: skip
    made.update_member(api.team("team"), "member")
    made.remove_members(api.user("bob"))
    made.description, made.name = "renamed now", "nets"
    made.save()
    found = wandb.Api()
    return {
        "linked": [linked.qualified_name, linked.source_qualified_name, linked.is_link, sorted(linked.aliases)],
        "refused": fails_with(lambda: data.link("wandb-registry-nets/other")),
        "twice": fails_with(lambda: api.create_registry("all", visibility="organization", organization="acme")),
        "members": members,
        "members_left": [one.role for one in members_of(made)],
        "registries": sorted([one.name, one.visibility, one.allow_all_artifact_types, list(one.artifact_types)] for one in found.registries("acme")),
        "registry": [found.registry("nets", "acme").description, found.registry("nets").full_name],
        "by_name": names(found.registries("acme", filter={"name": "all"})),
        "by_regex": names(found.registries("acme", filter={"name": {"$regex": "al|ne"}}, order="-name")),
        "by_tag": names(found.registries("acme").collections(filter={"tag": "fast"})),
        "count": len(found.registries("acme").collections()),
        "found": qualified(found.registries("acme").collections(filter={"name": {"$contains": "et"}}).versions(filter={"alias": "prod"})),
        "by_metadata": qualified(found.registries("acme").versions(filter={"metadata.k": 1})),
        "in_order": qualified(found.registries("acme", order="name").collections(order="name").versions()),
        "no_order": fails_with(lambda: list(found.registries("acme").versions(order="created_at"))),
        "bad_field": fails_with(lambda: list(found.registries("acme").versions(filter={"nonsense": 1}))),
        "resolved": found.artifact("wandb-registry-all/sets:prod").source_version,
        "link_gone": unlinked(found),
        "no_organization": fails_with(lambda: list(found.registries("nobody"))),
        "deleted": [found.registry("all", "acme").delete(), names(wandb.Api().registries("acme"))],
        "after": found.artifact("team/made/renamed:v1").linked_artifacts,
    }  # fmt: skip


def members_of(registry: Registry) -> list[Any]:
    return registry.members()


def unlinked(api: wandb.Api) -> list[str]:
    """Unlink the newest of a collection and return what is left."""
    api.artifact("wandb-registry-all/sets:latest").unlink()
    return qualified(
        wandb.Api().registries("acme").versions(filter={"metadata.k": {"$exists": True}})
    )


def names(found: Iterable[Any]) -> list[str]:
    return [one.name for one in found]


def qualified(found: Iterable[Any]) -> list[str]:
    return [one.qualified_name for one in found]


if __name__ == "__main__":
    seen = log() | read() | change() | registries()
    sys.stdout.write("\n" + json.dumps(seen) + "\n")
