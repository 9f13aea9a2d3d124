"""The world the contract of artifacts is judged in, and the scripts that are run on both clients."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from filled import KEY, NOW

from mirror.sandbox import World

Script = Callable[[Any], Any]
JOB: Final = (
    '{"_version": "v0", "source_type": "repo", "source": {"git": {"remote": "r", "commit": "%d"},'
    ' "entrypoint": ["python", "x.py"], "notebook": false}, "input_types": {"wb_type": "typedDict",'
    ' "params": {"type_map": {}}}, "output_types": {"wb_type": "typedDict", "params": {"type_map": {}}},'
    ' "runtime": "3.11"}'
)
SCRIPTS: Final[dict[str, Script]] = {}
ART: Final = "team/art"
ODD: Final = (
    '{"k": 1e5, "neg": -0.0, "one": 1.0, "nan": NaN, "big": 1180591620717411303424,'
    ' "deep": {"b": [1, NaN], "a": null}, "text": "NaN", "größe": "ß"}'
)


def script(function: Script) -> Script:
    SCRIPTS[function.__name__] = function
    return function


def day(number: int) -> str:
    return f"2024-02-{number:02d}T10:00:00"


def shelved() -> World:
    """Return a fresh world of artifacts: files, references, aliases, tags, links, deleted versions."""
    world = World(NOW)
    world.add_user("alice", key=KEY, entity="team", teams=["team"], name="Alice")
    world.add_user("bob", teams=["team"], name="Bob B.")
    world.add_organization("acme", teams=["team"], members=["alice"])
    for name in ("art", "empty"):
        world.add_project("team", name, user="alice", created_at="2024-01-01T00:00:00Z")
    for name in ("logs", "uses"):
        world.add_run(ART, name=name, created_at=day(1), state="finished", user="alice")
    shelf = world.artifacts
    shelf.log(f"{ART}/data", "dataset", {"a.txt": "one", "deep/er/b.txt": "two"}, run=f"{ART}/logs", created_at=day(2), metadata_text=ODD, tags=["raw", "small"], aliases=["first"], history_step=3, description="the first", ttl_duration_seconds=86400)  # fmt: skip
    shelf.log(f"{ART}/data", "dataset", {"a.txt": "one", "deep/er/b.txt": "three"}, run=f"{ART}/logs", created_at=day(3), tags=["raw"])  # fmt: skip
    shelf.log(f"{ART}/data", "dataset", {"a.txt": "gone"}, run=f"{ART}/logs", created_at=day(4))
    shelf.log(f"{ART}/data", "dataset", {"a.txt": "four", "c.txt": ""}, run=f"{ART}/logs", created_at=day(5), tags=["big"], aliases=["best", "prod"], metadata={"acc": 0.5})  # fmt: skip
    shelf.delete(f"{ART}/data:v2")
    shelf.log(f"{ART}/refs", "dataset", references={"x.bin": "hdfs://host/key", "y.bin": "hdfs://host/other"}, user="bob", created_at=day(6))  # fmt: skip
    shelf.log(f"{ART}/net", "model", {"weights.bin": "w" * 1000}, run=f"{ART}/uses", created_at=day(7))  # fmt: skip
    home = base64.b64decode(shelf.version(f"{ART}/data:v0").id).hex()
    shelf.log(f"{ART}/apart", "other", references={"a.txt": f"wandb-artifact://{home}/a.txt", "no.txt": f"wandb-artifact://{home}/nope"}, created_at=day(7))  # fmt: skip
    for number, day_number in enumerate((8, 9, 10)):
        shelf.log(f"{ART}/job-train", "job", {"wandb-job.json": JOB % number}, created_at=day(day_number), user="alice", aliases=["gpu"] * (number == 1))  # fmt: skip
    shelf.log(f"{ART}/job-other", "job", {"wandb-job.json": JOB % 9}, created_at=day(9))
    shelf.use(f"{ART}/data:v0", f"{ART}/uses", "training")
    shelf.use(f"{ART}/data:v3", f"{ART}/uses")
    shelf.edit_collection(f"{ART}/data", description="all the data", tags=["public", "v 2"])
    shelf.link(f"{ART}/net:v0", f"{ART}/nets", ["prod"], at=day(8))
    _add_registries(world)
    return world


def _add_registries(world: World) -> None:
    shelf = world.artifacts
    shelf.add_registry("acme", "models", members={"alice": "admin", "bob": "member"}, team_members={"team": "viewer"}, description="the good ones", created_at=day(1))  # fmt: skip
    shelf.add_registry("acme", "sets", visibility="restricted", artifact_types=["dataset", "table"], members={"alice": "admin"}, created_at=day(2))  # fmt: skip
    shelf.add_registry("acme", "none", created_at=day(3))
    shelf.link(f"{ART}/net:v0", "acme-org/wandb-registry-models/nets", ["staging"], at=day(9))
    shelf.link(f"{ART}/data:v0", "acme-org/wandb-registry-sets/train", ["old"], at=day(10))
    shelf.link(f"{ART}/data:v3", "acme-org/wandb-registry-sets/train", ["new"], at=day(11))
    shelf.link(f"{ART}/data:v3", "acme-org/wandb-registry-sets/test", at=day(12))
    shelf.edit_collection("acme-org/wandb-registry-sets/train", tags=["gold"], description="to train on")  # fmt: skip
    shelf.edit_collection("acme-org/wandb-registry-models/nets", tags=["gold", "small"])


# ------------------------------------------------------------------ versions

PLAIN: Final = (
    "id", "entity", "project", "name", "qualified_name", "version", "source_entity", "source_project", "source_name",
    "source_qualified_name", "source_version", "is_link", "type", "description", "metadata", "ttl", "aliases",
    "tags", "distributed_id", "incremental", "digest", "size", "commit_hash", "file_count", "created_at",
    "updated_at", "linked_at", "history_step", "url",
)  # fmt: skip
NAMES: Final = (
    "art/data:latest", "team/art/data:v0", "team/art/data:first", "team/art/data:best", "team/art/data:v1",
    "team/art/refs:v0", "team/art/net:latest", "team/art/nets:prod", "acme-org/wandb-registry-sets/train:old",
    "wandb-registry-models/nets:staging", "acme/wandb-registry-sets/test:v0",
)  # fmt: skip


def shown(artifact: Any) -> list[Any]:
    return [(name, getattr(artifact, name)) for name in PLAIN] + [
        ("state", artifact.state, artifact.digest_algorithm == "MANIFEST_MD5"),
        ("repr", repr(artifact), artifact.is_draft(), artifact.json_encode()),
    ]


def of_name(name: str) -> Script:
    return lambda api: shown(api.artifact(name))


SCRIPTS.update({f"artifact {name}": of_name(name) for name in NAMES})


@script
def digests_and_hashes_name_versions(api: Any) -> Any:
    found = api.artifact("team/art/data:v1")
    return [api.artifact(f"team/art/data:{one}").name for one in (found.digest, found.commit_hash)]


def missing(name: Any, **more: Any) -> Script:
    return lambda api: api.artifact(name, **more)


for _name in ("team/art/data:nope", "team/art/data:v99999999999999999999", "team/art/nope:v0", "team/nope/data:v0", "team/art/data:v2", "a/b/c/d:v0", "wandb-registry-nope/x:v0", "other/wandb-registry-sets/train:v0"):  # fmt: skip
    SCRIPTS[f"no artifact {_name}"] = missing(_name)
SCRIPTS["no name"] = missing(None)
SCRIPTS["another type"] = missing("team/art/data:v0", type="model")


@script
def existence(api: Any) -> Any:
    return (
        api.artifact_exists("team/art/data:v0"),
        api.artifact_exists("team/art/data:v9"),
        api.artifact_exists("team/art/data:v0", type="model"),
        api.artifact_exists("team/nope/data:v0"),
        api.artifact_collection_exists("team/art/data", "dataset"),
        api.artifact_collection_exists("team/art/nope", "dataset"),
        api.artifact_collection_exists("team/art/data", "model"),
    )


@script
def the_source_of_a_link(api: Any) -> Any:
    link = api.artifact("wandb-registry-sets/train:old")
    return shown(link.source_artifact), link.linked_artifacts, link.source_collection.name


@script
def the_links_of_a_source(api: Any) -> Any:
    found = api.artifact("team/art/data:v3").linked_artifacts
    return [(one.qualified_name, one.is_link, one.version, one.linked_at) for one in found]


@script
def collections_of_versions(api: Any) -> Any:
    return [
        (one.collection.name, one.collection.is_sequence(), one.collection.project)
        for one in map(api.artifact, ("team/art/nets:v0", "wandb-registry-sets/train:v0"))
    ]


@script
def lineage(api: Any) -> Any:
    return [
        (name, repr(one.logged_by()), list(map(repr, one.used_by())))
        for name in NAMES
        if (one := api.artifact(name))
    ]


# ------------------------------------------------------------------ contents


@script
def manifests(api: Any) -> Any:
    found = []
    for name in NAMES:
        manifest = api.artifact(name).manifest
        found.append((name, manifest.to_manifest_json(), list(manifest.entries), manifest.size()))
    return found


def dumped(one: Any) -> Any:
    return [
        one.model_dump(), one.model_dump(exclude_none=True), one.model_dump_json(),
        one.model_dump_json(indent=2),
    ]  # fmt: skip


@script
def members_of_manifests(api: Any) -> Any:
    found = []
    for name in NAMES:
        artifact = api.artifact(name)
        manifest = artifact.manifest
        policy = manifest.storage_policy
        found.append(
            [
                len(manifest), manifest.digest() == artifact.digest, manifest.version(),
                manifest.manifest_version, manifest.digest_algorithm == "MANIFEST_MD5",
                policy.name(), policy.config(), repr(manifest), dumped(manifest),
                manifest.hash_contents_with_md5(), manifest.get_entry_by_path("nope"),
                [one.path for one in manifest.get_entries_in_directory("deep")],
                [(dumped(one), one.digest_algorithm() == "MANIFEST_MD5") for one in manifest.entries.values()],
                [one.model_dump(by_alias=False, exclude={"extra"}) for one in manifest.entries.values()],
            ]
        )  # fmt: skip
    return found


@script
def a_manifest_that_is_changed(api: Any) -> Any:
    manifest = api.artifact("team/art/data:v1").manifest
    entry = manifest.entries["a.txt"]
    manifest.remove_entry(entry)
    gone = list(manifest.entries), str(_caught(lambda: manifest.remove_entry(entry)))
    manifest.add_entry(entry)
    other = type(entry)(path="a.txt", digest="other")
    twice = str(_caught(lambda: manifest.add_entry(other)))
    manifest.add_entry(other, overwrite=True)
    return gone, twice, sorted(manifest.entries), manifest.entries["a.txt"].digest


@script
def references_by_themselves(api: Any) -> Any:
    manifest = api.artifact("team/art/refs:v0").manifest
    return [(one.ref, one.ref_target()) for one in manifest.entries.values()]


@script
def entries(api: Any) -> Any:
    artifact = api.artifact("team/art/data:v1")
    one = artifact.get_entry("deep/er/b.txt")
    again = artifact.get_path("./a.txt")
    return (
        [one.path, one.digest, one.size, one.ref, one.birth_artifact_id is not None, one.extra],
        [again.path, again.local_path, again.skip_cache, one.ref_url() != again.ref_url()],
        repr(one), one.to_json(), one.parent_artifact() is artifact,
    )  # fmt: skip


@script
def no_entry(api: Any) -> Any:
    return api.artifact("team/art/data:v1").get_entry("nope")


@script
def references(api: Any) -> Any:
    artifact = api.artifact("team/art/refs:v0")
    return [(one.ref_target(), one.ref, one.digest) for one in map(artifact.get_entry, ("x.bin", "y.bin"))]  # fmt: skip


@script
def a_file_is_no_reference(api: Any) -> Any:
    return api.artifact("team/art/data:v1").get_entry("a.txt").ref_target()


@script
def no_object(api: Any) -> Any:
    artifact = api.artifact("team/art/data:v1")
    return artifact.get("nope"), artifact["a.txt"], artifact.get_added_local_path_name("a.txt")


def below(folder: str) -> list[Any]:
    paths = sorted(one for one in Path(folder).rglob("*") if one.is_file())
    return [(str(one.relative_to(folder)), one.read_bytes()) for one in paths]


@script
def downloads(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        artifact = api.artifact("team/art/data:v1")
        root = artifact.download(folder)
        artifact.verify(folder)
        return root == folder, below(folder)


@script
def downloads_of_a_prefix(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        api.artifact("team/art/data:v1").download(folder, path_prefix="deep", skip_cache=True)
        return below(folder)


@script
def checkouts(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        api.artifact("team/art/data:v1").download(folder)
        (Path(folder) / "more.txt").write_text("too much")
        api.artifact("team/art/data:v3").checkout(folder)
        # Names alone: the real client trusts its note of an older file written the same second.
        return [name for name, _ in below(folder)]


@script
def one_file(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        path = api.artifact("team/art/net:v0").file(folder)
        entry = api.artifact("team/art/data:v0").get_entry("deep/er/b.txt").download(folder)
        return Path(path).name, entry.removeprefix(folder), below(folder)


@script
def one_file_of_several(api: Any) -> Any:
    return api.artifact("team/art/data:v0").file()


@script
def a_folder_with_too_much(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        artifact = api.artifact("team/art/net:v0")
        artifact.download(folder)
        (Path(folder) / "more.txt").write_text("too much")
        try:
            artifact.verify(folder)
        except ValueError as error:
            return str(error).replace(folder, "")


@script
def a_changed_file(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        artifact = api.artifact("team/art/net:v0")
        artifact.download(folder)
        (Path(folder) / "weights.bin").write_text("other")
        return artifact.verify(folder)


@script
def files(api: Any) -> Any:
    found = api.artifact("team/art/data:v1").files()
    named = api.artifact("team/art/data:v1").files(names=["a.txt"])
    return [(one.name, one.size, one.md5) for one in found], len(found), repr(found), found.path, [one.name for one in named]  # fmt: skip


@script
def files_of_references(api: Any) -> Any:
    found = api.artifact("team/art/refs:v0").files()
    return [(one.name, one.size, one.url, one.direct_url, one.md5, repr(one)) for one in found]


@script
def ids_of_files(api: Any) -> Any:
    files = api.artifact("team/art/data:v0").files(per_page=1)
    return [(one.id, one.digest, one.updated_at, one.mimetype, repr(one)) for one in files]


@script
def downloads_of_files(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        texts = []
        for one in api.artifact("team/art/data:v1").files():
            with one.download(root=folder) as opened:
                texts.append(opened.read())
        again = api.artifact("team/art/data:v1").files()[0]
        again.download(root=folder, exist_ok=True).close()
        again.download(root=folder, replace=True).close()
        return texts, below(folder), type(_caught(lambda: again.download(root=folder))).__name__


# ------------------------------------------------------------------ listings


def collection(one: Any) -> Any:
    return (
        one.id, one.name, one.type, one.entity, one.project, one.project_id, one.project_internal_id, one.description,
        one.tags, one.aliases, one.created_at, one.updated_at, one.is_sequence(), repr(one), one.organization,
    )  # fmt: skip


@script
def types(api: Any) -> Any:
    found = api.artifact_types(ART)
    one = api.artifact_type("dataset", ART)
    return [(kind.name, kind.id, repr(kind), kind.entity, kind.project) for kind in found], one.name, [repr(kind) for kind in api.project("art", "team").artifacts_types()]  # fmt: skip


@script
def no_type(api: Any) -> Any:
    return api.artifact_type("nope", ART)


@script
def types_of_no_project(api: Any) -> Any:
    return list(api.artifact_types("team/nope"))


@script
def collections(api: Any) -> Any:
    found = api.artifact_collections(ART, "dataset")
    return (
        [collection(one) for one in found], len(found), found.more, found.per_page,
        [collection(one) for one in api.artifact_type("model", ART).collections()],
        collection(api.artifact_type("model", ART).collection("nets")),
        collection(api.artifact_collection("dataset", "art/data")),
        [one.name for one in api.project("art", "team").collections()],
        [one.name for one in api.project("art", "team").collections(order="name")],
        [one.name for one in api.project("art", "team").collections(filters={"name": {"$regex": "^ne"}})],
    )  # fmt: skip


@script
def collections_in_order(api: Any) -> Any:
    orders = ("name", "-name", "+created_at", "-created_at", "-updated_at", "id", "-id")
    return [
        [[one.name for one in api.artifact_collections(ART, "dataset", order=order)] for order in orders],
        [[one.name for one in api.project("art", "team").collections(order=order)] for order in (*orders, "type", "-type", "state")],
    ]  # fmt: skip


def project_collections_by(filter: Callable[[Any], dict[str, Any]]) -> Script:
    return lambda api: [
        one.name
        for one in api.project("art", "team").collections(
            filters=filter(api.artifact_collection("dataset", "team/art/refs").id)
        )
    ]


def _number(identifier: str) -> int:
    return int(base64.b64decode(identifier).decode().rpartition(":")[2])


PROJECT_COLLECTION_FILTERS: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "type": lambda _id: {"type": "dataset"},
    "types": lambda _id: {"type": {"$ne": "dataset"}},
    "state": lambda _id: {"state": "READY"},
    "another state": lambda _id: {"state": {"$in": ["DELETED"]}},
    "a global id": lambda id: {"id": id},
    "the number of an id": lambda id: {"id": _number(id)},
    "numbers of ids": lambda id: {"id": {"$in": [_number(id), 1]}},
    "a number as text": lambda id: {"collection_id": str(_number(id))},
}  # fmt: skip
for _name, _of_id in PROJECT_COLLECTION_FILTERS.items():
    SCRIPTS[f"collections by {_name}"] = project_collections_by(_of_id)


@script
def no_collection(api: Any) -> Any:
    return api.artifact_collection("dataset", "team/art/nope")


@script
def collections_of_no_type(api: Any) -> Any:
    return list(api.artifact_collections(ART, "nope"))


@script
def versions(api: Any) -> Any:
    found = api.artifacts("dataset", "team/art/data")
    return [shown(one) for one in found], len(found), [one.name for one in found[:2]], found[0].name


@script
def versions_by_tag_and_order(api: Any) -> Any:
    def names(**more: Any) -> list[str]:
        return [one.name for one in api.artifacts("dataset", "team/art/data", **more)]

    keys = ("created_at", "state", "versionIndex", "version", "id", "size", "digest", "updatedAt")
    orders = [names(order=f"{sign}{key}") for key in keys for sign in ("", "+", "-")]
    tagged = [names(tags=tags) for tags in (["raw"], ["raw", "small"], ["nope"], "big", "")]
    return orders, tagged, names(per_page=1), [one.name for one in api.artifact_versions("dataset", "team/art/data")]  # fmt: skip


@script
def versions_of_links(api: Any) -> Any:
    found = api.artifacts("dataset", "wandb-registry-sets/train")
    return [(one.name, one.aliases, one.is_link) for one in found]


@script
def versions_page_by_page(api: Any) -> Any:
    found = api.artifacts("dataset", "team/art/data", per_page=2)
    first = next(found)
    rest = api.artifacts("dataset", "team/art/data", per_page=2, start=found.cursor)
    return first.name, len(found.objects), found.more, [one.name for one in rest]


@script
def versions_of_nothing(api: Any) -> Any:
    return list(api.artifacts("dataset", "team/art/nope"))


@script
def a_bad_order(api: Any) -> Any:
    found = _caught(lambda: api.artifacts("dataset", "team/art/data", order="a b"))
    return isinstance(found, ValueError)  # wandb's is pydantic's, whose text is a paragraph


def _caught(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - its kind is what is looked at
        return getattr(error, "exc", error)


@script
def artifacts_of_runs(api: Any) -> Any:
    found = []
    for name in ("logs", "uses"):
        run = api.run(f"{ART}/{name}")
        for side in (run.logged_artifacts(), run.used_artifacts()):
            kept = [one for one in side if one.state == "COMMITTED"]
            found.append([(one.qualified_name, one.aliases, one.tags) for one in kept])
    return found


@script
def deleted_artifacts_of_runs(api: Any) -> Any:
    found = []
    for one in api.run(f"{ART}/logs").logged_artifacts():
        looks = (lambda one=one: list(one.files()), lambda one=one: one.linked_artifacts)
        raised = [repr(_caught(look)) for look in looks] if one.state == "DELETED" else []
        found.append((one.qualified_name, one.state, one.aliases, raised))
    return found


@script
def aliases_of_links(api: Any) -> Any:
    return [
        [
            (one.qualified_name, one.aliases, one.version)
            for one in api.artifact(name).linked_artifacts
        ]
        for name in ("team/art/net:v0", "team/art/data:v0", "team/art/data:v3", "team/art/refs:v0")
    ]


@script
def references_to_other_versions(api: Any) -> Any:
    artifact = api.artifact("team/art/apart:v0")
    looks = [
        lambda name=name: artifact.get_entry(name).ref_target() for name in ("a.txt", "no.txt")
    ]
    return [repr(_caught(look)) for look in looks], [one.ref_target() for one in artifact.manifest.entries.values() if one._parent_artifact is None]  # fmt: skip


# ------------------------------------------------------------------ registries


def registry(one: Any) -> Any:
    return (
        one.id, one.internal_id, one.name, one.full_name, one.entity, one.organization, one.description,
        one.allow_all_artifact_types, list(one.artifact_types), len(one.artifact_types), repr(one.artifact_types),
        one.created_at, one.updated_at, one.path, one.visibility,
    )  # fmt: skip


@script
def registries(api: Any) -> Any:
    return [registry(one) for one in api.registries()], registry(api.registry("models")), registry(api.registry("sets", "acme"))  # fmt: skip


@script
def no_registry(api: Any) -> Any:
    return api.registry("nope")


@script
def registries_of_nobody(api: Any) -> Any:
    return list(api.registries("nope"))


@script
def members(api: Any) -> Any:
    found = api.registry("models")
    people = [(one.user.username, one.role, one.kind.value) for one in found.user_members()]
    shown = [repr(one).partition("<")[0] + repr(one.user) for one in found.user_members()]
    return people, [one.role for one in found.members()][:2], shown


REGISTRY_FILTERS: Final = (
    {"name": "models"}, {"name": "wandb-registry-models"}, {"name": {"$in": ["models", "sets"]}},
    {"name": {"$regex": "s$"}}, {"description": {"$ne": None}}, {"created_at": {"$gt": "2024-02-01T12:00:00Z"}},
    {"$or": [{"name": "none"}, {"name": "sets"}]}, {"name": {"$contains": "model"}},
    {"name": {"$in": ["entity_id", "sets"]}}, {"$not": {"entity_id": 1}},
)  # fmt: skip
COLLECTION_FILTERS: Final = (
    {"name": "train"}, {"tag": "gold"}, {"tag": {"$in": ["small", "x"]}}, {"tag": {"$ne": "gold"}},
    {"name": {"$regex": "^t"}}, {"description": {"$regex": "train"}}, {"created_at": {"$lt": "2024-02-10T12:00:00Z"}},
    {"$and": [{"tag": "gold"}, {"name": "nets"}]}, {"$not": {"tag": "gold"}},
)  # fmt: skip
VERSION_FILTERS: Final = (
    {"tag": "raw"}, {"alias": "new"}, {"alias": {"$in": ["old", "staging"]}}, {"metadata.acc": {"$gt": 0.1}},
    {"metadata.k": 100000}, {"created_at": {"$gte": "2024-02-05T00:00:00Z"}}, {"tag": {"$ne": "raw"}},
    {"alias": "v1"}, {"$or": [{"tag": "big"}, {"alias": "latest"}]}, {"metadata.deep.b": 1}, {"version": "v0"},
)  # fmt: skip


def registries_by(filter: dict[str, Any]) -> Script:
    return lambda api: [one.name for one in api.registries(filter=filter)]


def collections_by(filter: dict[str, Any]) -> Script:
    return lambda api: [
        [(one.project, one.name) for one in api.registries().collections(filter)],
        [one.name for one in api.registry("sets").collections(filter)],
    ]


def versions_by(filter: dict[str, Any]) -> Script:
    return lambda api: [
        [one.qualified_name for one in api.registries().versions(filter)],
        [one.name for one in api.registries().collections({"tag": "gold"}).versions(filter)],
    ]


for _kind, _table, _make in (
    ("registries", REGISTRY_FILTERS, registries_by),
    ("collections", COLLECTION_FILTERS, collections_by),
    ("versions", VERSION_FILTERS, versions_by),
):
    for _filter in _table:
        SCRIPTS[f"{_kind} {_filter}"] = _make(_filter)  # type: ignore[operator]


@script
def collections_of_registries(api: Any) -> Any:
    found = api.registries().collections()
    return [collection(one) for one in found], len(found)


@script
def versions_of_registries(api: Any) -> Any:
    found = api.registries().versions()
    return [shown(one) for one in found], found.length


@script
def registries_in_order(api: Any) -> Any:
    found = []
    for order in ("name", "-name", "-created_at"):
        listing = api.registries(order=order)
        found.append([one.name for one in listing])
        found.append([one.name for one in api.registries(order=order).collections(order="-name")])
        found.append([one.name for one in api.registries(order=order).versions()])
        ordered = api.registries(order=order).collections()
        found.append([one.name for one in ordered.versions({"tag": {"$ne": "x"}})])
    return found


@script
def a_chain_has_no_length(api: Any) -> Any:
    chain = api.registries(order="name").collections()
    looks = (lambda: len(chain), lambda: chain.cursor, lambda: chain.length, lambda: chain[0])
    return [type(_caught(look)).__name__ for look in looks]


@script
def a_chain_cannot_be_resumed(api: Any) -> Any:
    return api.registries(order="name").collections(start="x")


@script
def versions_have_no_order_here(api: Any) -> Any:
    return api.registries().versions(order="created_at")


@script
def jobs(api: Any) -> Any:
    return api.list_jobs("team", "art"), _caught(lambda: api.job("nope")).args


@script
def a_job(api: Any) -> Any:
    with TemporaryDirectory() as folder:
        job = api.job("team/art/job-train:gpu", folder)
        job.set_entrypoint(["sh"])
        return job.name, below(folder)


@script
def another_kind_of_artifact_is_no_job(api: Any) -> Any:
    return api.job("team/art/data:v0")


@script
def bad_arguments(api: Any) -> Any:
    """Only what is raised: wandb's text is pydantic's."""
    return [
        isinstance(_caught(look), ValueError)
        for look in (
            lambda: api.artifacts("dataset", "team/art/data", per_page=None),
            lambda: api.artifacts("dataset", "team/art/data", per_page="x"),
            lambda: api.registries(per_page=2.5),
            lambda: api.registries(filter=[1]),
            lambda: api.project("art", "team").collections(filters="x"),
        )
    ]


@script
def projects_of_registries(api: Any) -> Any:
    return repr(api.project("wandb-registry-sets")), [one.name for one in api.project("wandb-registry-sets", "acme").collections()]  # fmt: skip
