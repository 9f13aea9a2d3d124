"""Answers about artifacts and registries from the tables of the mirror, in the server's shapes.

`MISS` says that the tables do not hold what was asked; a None says that there is no such thing. In
auto mode only what is there is answered: what is not may have come since the last sync.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from mirror.global_ids import number_of
from mirror.jsontext import escape, loads, names_in, unescape, unpack

if TYPE_CHECKING:
    from mirror.api.artifact_door import ArtifactDoor

__all__ = ["MISS", "ArtifactTables", "shown_membership"]

MISS: Final = object()
_STAGE: Final = "artifacts"
_INDEX: Final = re.compile(r"v(\d{1,9})")  # more digits than a version has
# Of lineage, what a run that was deleted did is not shown.
_USED_BY: Final = (
    "SELECT u.project_id, u.run FROM artifact_uses AS u WHERE u.artifact_id = ?"
    " AND u.direction = 'used' AND u.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM runs AS r"
    " WHERE r.project_id = u.project_id AND r.name = u.run AND r.deleted_at IS NOT NULL)"
    " ORDER BY u.position IS NULL, u.position, u.seq, u.run"
)
_PROJECT_OF_RUN: Final = "SELECT entity, name FROM projects WHERE project_id = ?"


def _node(packed: bytes | None) -> dict[str, Any]:
    text = unpack(packed) or "{}"
    try:
        found: dict[str, Any] = orjson.loads(text)
    except ValueError:  # what JSON allows and orjson does not, such as a lone surrogate
        found = loads(text)
    return found


@functools.lru_cache(maxsize=1024)
def _project(packed: bytes | None) -> dict[str, Any]:
    node = _node(packed)
    return {
        "id": node.get("id"),
        "internalId": node.get("internalId"),
        "name": node.get("name"),
        "entity": {"name": node.get("entityName")},
    }


@functools.lru_cache(maxsize=4096)
def _collection(packed: bytes | None, project: bytes | None) -> dict[str, Any]:
    return {**_node(packed), "project": _project(project)}


def _version(
    packed: bytes | None,
    metadata: bytes | None,
    sequence_packed: bytes | None,
    project_packed: bytes | None,
) -> dict[str, Any]:
    """A version's node; of its sequence and project those read since, which may be renamed."""
    node = _node(packed)
    sequence = node.get("artifactSequence") or {}
    home = sequence.get("project")
    if home and "entity" not in home:
        home = {**home, "entity": {"name": home.get("entityName")}}
    if sequence_packed:
        newer = _collection(sequence_packed, None)
        sequence = {**sequence, "name": newer["name"]}
        node["artifactType"] = {
            **node["artifactType"],
            "name": newer["defaultArtifactType"]["name"],
        }
    if project_packed:
        home = _project(project_packed)
    return {**node, "metadata": unpack(metadata), "artifactSequence": {**sequence, "project": home}}


class ArtifactTables:
    """The tables behind a source."""

    def __init__(
        self, source: ArtifactDoor, *, any_age: bool = False, unfinished: bool = False
    ) -> None:
        """`unfinished` also answers of places that were not read whole: what is there is there."""
        self.source = source
        self.any_age = any_age
        self.unfinished = unfinished

    # -------------------------------------------------------------- what may be answered

    def answer(self, operation: str, asked: Mapping[str, Any]) -> Any:
        """Return the answer to a question about one thing, or MISS."""
        reader = _ONE.get(operation)
        if reader is None or self.source.mode == "online":
            return MISS
        if self._is_gone(asked):
            return None
        found = self._remembered((operation, *asked.items()), lambda: reader(self, **asked))
        if found is None and (self.source.mode == "auto" or self._chosen(asked)):
            return MISS
        return found

    def met(self, operation: str, asked: Mapping[str, Any]) -> tuple[Any, str | None]:
        """Return one thing that was read by itself, or MISS; and when it was."""
        table = _MET.get(operation)
        if table is None:
            return MISS, None
        found = _ONE[operation](ArtifactTables(self.source, unfinished=True), **asked)
        if found is None or found is MISS:
            return MISS, None
        rows = self._rows(f"SELECT synced_at FROM {table} WHERE id = ?", escape(found["id"]))  # noqa: S608 - our own
        return found, rows[0][0]

    def page(self, operation: str, first: int, after: str | None, asked: Mapping[str, Any]) -> Any:
        """Return a page of a listing, or MISS. Cursors are places, as text."""
        reader = _MANY.get(operation)
        start = 0 if after is None else int(after) if after.isdecimal() else None
        if reader is None or self.source.mode == "online" or start is None:
            return MISS
        if self._is_gone(asked):
            return None
        key = (operation, *sorted((name, str(value)) for name, value in asked.items()))
        edges = self._remembered(key, lambda: reader(self, **asked))
        if edges is MISS:
            return MISS
        if edges is None and (self.source.mode == "auto" or self._chosen(asked)):
            return MISS
        if edges is None:
            return None
        stop = start + first
        return {
            "edges": edges[start:stop],
            "totalCount": len(edges),
            "pageInfo": {"endCursor": str(min(stop, len(edges))), "hasNextPage": stop < len(edges)},
        }

    def _is_gone(self, asked: Mapping[str, Any]) -> bool:
        """Whether offline a project is asked about that the mirror found deleted."""
        if self.source.mode != "offline" or not asked.keys() >= {"entity", "project"}:
            return False
        found = self.source.find(asked["entity"], asked["project"])
        return found is not None and found.deleted_at is not None

    def _chosen(self, asked: Mapping[str, Any]) -> bool:
        """Whether the settings mirror a part of a place only, so that what is not held may exist."""
        place = f"{asked.get('entity')}/{asked.get('project')}"
        settings = self.source.config.project_settings(place)
        return bool(settings.artifact_types or settings.artifact_collections)

    def _remembered(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """What was read since the store last changed; where answers age, it is read again."""
        if self.any_age or self.source.max_age_s is not None:
            return read()
        return self.source.held.memo.answer(key, read)

    def deleted_at(self, entity: str, project: str, name: str) -> str | None:
        """Return when a version was found gone that "collection:alias" named; None: there was none."""
        found = self.source.find(entity, project)
        if found is None:
            return None
        collection, _, alias = name.partition(":")
        index = _INDEX.fullmatch(alias)
        rows = self._rows(
            "SELECT max(m.deleted_at) FROM artifact_memberships AS m"
            " JOIN artifact_collections AS c ON c.id = m.collection_id"
            " WHERE c.project_id = ? AND c.name = ? AND m.deleted_at IS NOT NULL"
            " AND (m.version_index = ? OR m.id IN (SELECT a.membership_id FROM artifact_aliases AS a"
            " WHERE a.collection_id = c.id AND a.alias = ?))",
            found.project_id,
            escape(collection),
            int(index[1]) if index else -1,
            escape(alias or "latest"),
        )
        deleted_at: str | None = rows[0][0]
        return deleted_at

    def synced_at(self, entity: str, project: str) -> str | None:
        """Return the server's time that the artifacts of a project are fresh as of."""
        found = self.source.find(entity, project)
        if found is None:
            return None
        rows = self._rows(
            "SELECT synced_at FROM sync_state WHERE project_id = ? AND stage = ?",
            found.project_id,
            _STAGE,
        )
        return rows[0][0] if rows else None

    def _rows(self, text: str, *values: Any) -> Sequence[Any]:
        return self.source.held.rows(text, *values)

    def _place(self, entity: str, project: str) -> str | None:
        """The key of a project of which all artifacts are held, young enough; else None."""
        found = self.source.find(entity, project)
        if found is None or found.deleted_at is not None:
            return None
        if self.unfinished:
            return found.project_id
        rows = self._rows(
            "SELECT walk_complete_at, synced_at FROM sync_state WHERE project_id = ? AND stage = ?",
            found.project_id,
            _STAGE,
        )
        if not rows or (rows[0][0] is None and not self.source.partial):
            return None
        if self.source.mode == "offline":
            what = f"the artifacts of {entity}/{project}"
            self.source._refuse_stale(rows[0][1], what, f"{entity}/{project}")
        elif not self.any_age and self.source._too_old(rows[0][1]):
            return None
        return found.project_id

    # -------------------------------------------------------------- types, collections

    def artifact_type(self, entity: str, project: str, type: str) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        found = [one for one in self._types(place) if one["name"] == type]
        return found[0] if found else None

    def _types(self, place: str) -> list[dict[str, Any]]:
        rows = self._rows(
            "SELECT node FROM artifact_types WHERE project_id = ? AND deleted_at IS NULL"
            " ORDER BY position, name",
            place,
        )
        return [_node(node) for (node,) in rows]

    def types(self, entity: str, project: str) -> Any:
        place = self._place(entity, project)
        return MISS if place is None else [{"node": node} for node in self._types(place)]

    def _collections(
        self,
        places: Sequence[str],
        filters: str | None = None,
        order: str | None = None,
        *,
        listed: bool = True,
        **exact: str,
    ) -> list[tuple[str, dict[str, Any]]]:
        """Ids and nodes of collections of projects; those that a sync `listed`, or all that are met."""
        from mirror.api.artifact_search import search
        from mirror.store.sql import bind, both, either, sql

        where = [either([sql("c.project_id = {p}", p=bind(place)) for place in places])]
        where += [
            sql(f"c.{name} = {{value}}", value=bind(escape(value))) for name, value in exact.items()
        ]
        if listed and not self.source.partial:
            where.append(sql("c.walked_at IS NOT NULL"))
        condition = both([*where, sql("c.deleted_at IS NULL")])
        if isinstance(condition, bool):
            return []
        rows = search(self.source.held.reader, "collections", condition, filters, order)
        if order is None:
            rows = self._as_listed(places, rows)
        return [(row[2], _collection(row[0], row[1])) for row in rows]

    def _as_listed(self, places: Sequence[str], rows: Sequence[Any]) -> list[Any]:
        """Collections in the order of the server's own listing: as its last one of the project was."""
        marks = ", ".join("?" * len(places))
        details = self._rows(
            "SELECT details FROM sync_state WHERE stage = ? AND details IS NOT NULL"  # noqa: S608
            f" AND project_id IN ({marks})",
            _STAGE,
            *places,
        )
        known = [orjson.loads(text).get("newest_first") for (text,) in details]
        if False not in known:
            return sorted(rows, key=lambda row: number_of(unescape(row[2])), reverse=True)
        at = {place: index for index, place in enumerate(places)}
        return sorted(rows, key=lambda row: (at[row[3]], number_of(unescape(row[2]))))

    def collection(self, entity: str, project: str, type: str, name: str) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        found = self._collections([place], listed=False, type=type, name=name)
        return found[0][1] if found else None

    def project_collections(
        self, entity: str, project: str, filters: str | None, order: str | None
    ) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        return [{"node": node} for _, node in self._collections([place], filters, order)]

    def type_collections(
        self, entity: str, project: str, type: str, filters: str | None, order: str | None
    ) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        if all(one["name"] != type for one in self._types(place)):
            return None
        found = self._collections([place], filters, order, type=type)
        return [{"node": node} for _, node in found]

    def aliases(self, id: str) -> Any:
        rows = self._rows(
            "SELECT m.aliases, m.version_index FROM artifact_memberships AS m"
            " JOIN artifact_collections AS c ON c.id = m.collection_id"
            " WHERE c.id = ? AND m.deleted_at IS NULL AND m.alone IS NULL"
            " AND c.walked_at IS NOT NULL"
            " ORDER BY m.version_index",
            escape(id),
        )
        if not rows and not self._is_walked(escape(id)):
            return MISS
        names = [name for aliases, index in rows for name in (*names_in(aliases), f"v{index}")]
        return [{"node": {"alias": name}} for name in names]

    # -------------------------------------------------------------- versions

    def _members(
        self,
        where: Any,
        filters: str | None = None,
        order: str | None = None,
        *,
        listed: bool = True,
    ) -> list[dict[str, Any]]:
        """Membership nodes, whole; those that a sync `listed`, or all that are met."""
        from mirror.api.artifact_search import search
        from mirror.store.sql import both, sql

        wanted = [where, sql("m.deleted_at IS NULL"), sql("c.deleted_at IS NULL")]
        if listed and not self.source.partial:
            wanted += [sql("m.alone IS NULL"), sql("c.walked_at IS NOT NULL")]
        condition = both(wanted)
        if isinstance(condition, bool):
            return []
        rows = search(self.source.held.reader, "versions", condition, filters, order)
        return [self._member(row) for row in rows]

    def _member(self, row: Sequence[Any]) -> dict[str, Any]:
        version, metadata, sequence, home, identifier, index, aliases, created_at = row[:8]
        collection, project, _ = row[8:]
        names = [*names_in(aliases), f"v{index}"]
        return {
            "id": unescape(identifier),
            "versionIndex": index,
            "createdAt": created_at,
            "aliases": [{"alias": name} for name in names],
            "artifactCollection": _collection(collection, project),
            "artifact": _version(version, metadata, sequence, home),
        }

    def membership(self, entity: str, project: str, name: str) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        from mirror.store.sql import bind, both, either, sql

        collection, _, alias = name.partition(":")
        alias = escape(alias or "latest")
        index = _INDEX.fullmatch(alias)
        holds = sql(
            "m.id IN (SELECT a.membership_id FROM artifact_aliases AS a WHERE a.collection_id = c.id"
            " AND a.alias = {alias} AND a.until_us IS NULL)",
            alias=bind(alias),
        )
        here = both(
            [
                sql("c.project_id = {p}", p=bind(place)),
                sql("c.name = {n}", n=bind(escape(collection))),
            ]
        )
        number = int(index[1]) if index and len(index[1]) < 10 else None  # no column holds more
        numbered = [] if number is None else [sql("m.version_index = {i}", i=bind(number))]
        found = self._members(both([here, either([holds, *numbered])]), listed=False)
        if not found:
            hashed = [
                sql("v.digest = {h}", h=bind(alias)),
                sql("v.commit_hash = {h}", h=bind(alias)),
            ]
            found = self._members(both([here, either(hashed)]), listed=False)
        if not found:  # the history of a collection's aliases leaves out what no sync has seen
            alone = self._members(both([here, sql("m.alone = 1")]), listed=False)
            named = {"alias": unescape(alias)}
            found = [one for one in alone if named in one["aliases"]]
        return found[0] if found else None

    def versions(
        self,
        entity: str,
        project: str,
        type: str,
        name: str,
        filters: str | None,
        order: str | None,
    ) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        from mirror.store.sql import bind, sql

        found = self._collections([place], listed=False, type=type, name=name)
        if not found:
            return None
        if not self.source.partial and not self._is_walked(found[0][0]):
            return MISS
        where = sql("m.collection_id = {c}", c=bind(found[0][0]))
        return [
            {"version": f"v{one['versionIndex']}", "node": _aliased(one)}
            for one in self._members(where, filters, order)
        ]

    def _is_walked(self, collection_id: str) -> bool:
        """Whether all versions of a collection were read, once."""
        rows = self._rows(
            "SELECT 1 FROM artifact_collections WHERE id = ? AND walked_at IS NOT NULL",
            collection_id,
        )
        return bool(rows)

    def _of_run(self, entity: str, project: str, run: str, direction: str) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        from mirror.api.artifact_search import HOME, VERSION

        rows = self._rows(
            f"SELECT {VERSION}, m.version_index, m.aliases FROM artifact_uses AS u"  # noqa: S608
            f" JOIN artifacts AS v ON v.id = u.artifact_id {HOME} LEFT JOIN artifact_memberships AS m"
            # by its artifact: an index of its collection would be gone through for each version
            " ON m.artifact_id = v.id AND m.collection_id || '' = v.collection_id"
            " AND m.deleted_at IS NULL"
            " WHERE u.project_id = ? AND u.run = ? AND u.direction = ? AND u.deleted_at IS NULL"
            " AND (u.run_position IS NULL OR u.run_position >= 0)"
            " ORDER BY u.run_position IS NULL, u.run_position, v.created_at_us, v.version_index",
            place,
            escape(run),
            direction,
        )
        edges = []
        for *version, index, aliases in rows:
            node = _version(*version)
            names = [] if index is None else [*names_in(aliases), f"v{index}"]
            sequence = node["artifactSequence"]
            edges.append({"node": {**node, "aliases": _alias_nodes(names, sequence)}})
        return edges

    def run_output(self, entity: str, project: str, run: str) -> Any:
        return self._of_run(entity, project, run, "logged")

    def run_input(self, entity: str, project: str, run: str) -> Any:
        return self._of_run(entity, project, run, "used")

    # -------------------------------------------------------------- lineage

    def _run_node(self, place: str, run: str) -> dict[str, Any] | None:
        rows = self._rows(_PROJECT_OF_RUN, place)
        entity, slash, name = place.partition("/")
        if rows:
            entity, name = (unescape(part) for part in rows[0])
        elif not slash:
            return None
        project = {"name": name, "entity": {"name": entity}}
        return {"__typename": "Run", "name": unescape(run), "project": project}

    def _lineage_read(self, id: str) -> bool:
        """Whether it was read who uses a version, young enough; of one met by itself offline only."""
        rows = self._rows(
            "SELECT v.lineage_read_at, s.synced_at FROM artifacts AS v LEFT JOIN sync_state AS s"
            " ON s.project_id = v.project_id AND s.stage = ? AND s.walk_complete_at IS NOT NULL"
            " WHERE v.id = ? AND v.lineage_read_at IS NOT NULL",
            _STAGE,
            escape(id),
        )
        if not rows or self.any_age:
            return bool(rows)
        read_at, synced_at = rows[0]
        if self.source.mode == "offline":
            self.source._refuse_stale(synced_at or read_at, f"the users of artifact {id}", None)
            return True
        return synced_at is not None and not self.source._too_old(synced_at)

    def used_by(self, id: str) -> Any:
        if not self._lineage_read(id):
            return MISS
        rows = self._rows(_USED_BY, escape(id))
        nodes = [self._run_node(place, run) for place, run in rows]
        return {"edges": [{"node": node} for node in nodes if node]}

    def created_by(self, id: str) -> Any:
        rows = self._rows(
            "SELECT v.created_by_kind, v.created_by, v.created_by_project, r.deleted_at"
            " FROM artifacts AS v LEFT JOIN runs AS r"
            " ON r.project_id = v.created_by_project AND r.name = v.created_by"
            " WHERE v.id = ? AND v.lineage_read_at IS NOT NULL",
            escape(id),
        )
        if not rows:
            return MISS
        kind, name, place, gone = rows[0]
        if kind == "run" and gone is not None:  # the server names no run that was deleted
            return {"__typename": "User"}
        return self._run_node(place, name) if kind == "run" and place else {"__typename": "User"}

    def links(self, id: str) -> Any:
        if self.source.mode != "offline":  # links to places that are not mirrored are not held
            return MISS
        from mirror.store.sql import bind, sql

        found = self._members(sql("m.artifact_id = {id}", id=bind(escape(id))))
        found.sort(key=lambda one: number_of(one["id"]))
        if not found and not self._rows(
            "SELECT 1 FROM artifacts WHERE id = ? AND deleted_at IS NOT NULL", escape(id)
        ):
            return MISS
        return {"edges": [{"node": one} for one in found]}

    def files(
        self, entity: str, project: str, collection: str, alias: str, names: Sequence[str] | None
    ) -> Any:
        """The files of a version, of the entries of its manifest; offline: nothing else has addresses."""
        if self.source.mode != "offline":
            return MISS
        known = ArtifactTables(self.source, unfinished=True)
        member = known.membership(entity, project, f"{collection}:{alias}")
        if not member or member is MISS:  # of a version that was deleted there are none
            return None if self._place(entity, project) else MISS
        identifier, made_at = member["artifact"]["id"], member["artifact"]["createdAt"]
        found = self.manifest(identifier)
        if found is None:
            return MISS
        return [
            {"node": _file(number_of(identifier), path, entry, made_at)}
            for path, entry in found["contents"].items()
            if names is None or path in names
        ]

    def jobs(self, entity: str, project: str) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        if all(one["name"] != "job" for one in self._types(place)):
            return {"artifactType": None}
        edges = []
        for identifier, _ in self._collections([place], type="job"):
            rows = self._rows(
                "SELECT v.id, v.state, v.node FROM artifacts AS v WHERE v.collection_id = ? OR v.id IN"
                " (SELECT m.artifact_id FROM artifact_memberships AS m"
                " WHERE m.collection_id = ? AND m.deleted_at IS NULL)"
                " ORDER BY v.version_index DESC",
                identifier,
                identifier,
            )
            nodes = [{"node": self._job(*row)} for row in rows]
            edges.append({"node": {"artifacts": {"edges": nodes}}})
        return {"artifactType": {"artifactCollections": {"edges": edges}}}

    def _job(self, identifier: str, state: str, node: bytes) -> dict[str, Any]:
        rows = self._rows(
            "SELECT m.aliases, m.version_index FROM artifact_memberships AS m"
            " WHERE m.artifact_id = ? AND m.deleted_at IS NULL AND m.alone IS NULL"
            " ORDER BY m.created_at_us",
            identifier,
        )
        names = [name for aliases, index in rows for name in (*names_in(aliases), f"v{index}")]
        return {
            "id": unescape(identifier),
            "state": state,
            "aliases": [{"alias": name} for name in names],
            "artifactSequence": {"name": _node(node)["artifactSequence"]["name"]},
        }

    def lacks_manifest(self, artifact_id: str) -> bool:
        """Whether a version is held without the entries of its manifest."""
        rows = self._rows(
            "SELECT 1 FROM artifacts WHERE id = ? AND manifest_read_at IS NULL", escape(artifact_id)
        )
        return bool(rows)

    def manifest(self, artifact_id: str) -> dict[str, Any] | None:
        """Return the manifest of a version as a document; None: its entries were never read."""
        rows = self._rows(
            "SELECT e.path, e.digest, e.size, e.ref, e.birth_artifact_id, e.extra FROM artifacts AS v"
            " LEFT JOIN artifact_entries AS e ON e.artifact_id = v.id"
            " WHERE v.id = ? AND v.manifest_read_at IS NOT NULL ORDER BY e.path",
            escape(artifact_id),
        )
        if not rows:
            return None
        contents: dict[str, Any] = {}
        for path, digest, size, ref, birth, extra in rows:
            if path is not None:
                beyond = loads(extra) if extra else None
                said, more = beyond if isinstance(beyond, list) else (beyond, {})
                entry = {
                    "digest": unescape(digest),
                    "birthArtifactID": birth and unescape(birth),
                    "ref": ref and unescape(ref),
                    "extra": said,
                    "size": size,
                    **more,
                }
                contents[unescape(path)] = {
                    name: value for name, value in entry.items() if value is not None
                }
        policy = self.source.held.object("manifest_policy", "", artifact_id)
        return {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {"storageLayout": "V2"},
            **(policy.node if policy else {}),
            "contents": contents,
        }

    # -------------------------------------------------------------- registries

    def _registries(
        self, organization: str, filters: str | None, order: str | None = None
    ) -> list[Any] | None:
        """Rows of an organization's registries; None where the mirror holds none of them.

        Also for a filter by the id of an entity, which the mirror does not know.
        """
        key = ("registries", organization, filters, order)
        return self.source.held.memo.answer(
            key, lambda: self._read_registries(organization, filters, order)
        )

    def _read_registries(
        self, organization: str, filters: str | None, order: str | None
    ) -> list[Any] | None:
        from mirror.api.artifact_search import asked_about, search
        from mirror.store.sql import bind, both, sql

        known = self._rows(
            "SELECT 1 FROM registries WHERE organization = ? AND deleted_at IS NULL LIMIT 1",
            escape(organization),
        )
        if not known or "entity_id" in asked_about("registries", filters):
            return None
        condition = both(
            [
                sql("r.organization = {o}", o=bind(escape(organization))),
                sql("r.deleted_at IS NULL"),
            ]
        )
        assert not isinstance(condition, bool)
        return list(search(self.source.held.reader, "registries", condition, filters, order))

    def _registry(self, row: Sequence[Any]) -> dict[str, Any]:
        node, project, organization, types, _ = row
        names = names_in(types)
        found = _node(node)
        owner = {
            "name": found.get("entityName") or _project(project)["entity"]["name"],
            "organization": {"name": unescape(organization)} if organization else None,
        }
        edges = [{"node": {"name": name}} for name in names]
        return {**_project(project), **found, "entity": owner, "artifactTypes": {"edges": edges}}

    def registries(self, organization: str, filters: str | None, order: str | None) -> Any:
        rows = self._registries(organization, filters, order)
        return MISS if rows is None else [{"node": self._registry(row)} for row in rows]

    def registry(self, entity: str, name: str) -> Any:
        from mirror.api.artifact_search import search
        from mirror.store.sql import bind, both, sql

        if self._place(entity, name) is None:
            return MISS
        condition = both(
            [
                sql("r.org_entity = {e}", e=bind(escape(entity))),
                sql("r.full_name = {n}", n=bind(escape(name))),
                sql("r.deleted_at IS NULL"),
            ]
        )
        assert not isinstance(condition, bool)
        rows = search(self.source.held.reader, "registries", condition)
        return self._registry(rows[0]) if rows else None

    def registry_collections(
        self, organization: str, registries: str | None, collections: str | None, order: str | None
    ) -> Any:
        rows = self._registries(organization, registries)
        if rows is None:
            return MISS
        places = [row[4] for row in rows]
        found = self._collections([*places, ""], collections, order, kind="portfolio")
        return [{"node": node} for _, node in found]

    def registry_versions(
        self,
        organization: str,
        registries: str | None,
        collections: str | None,
        versions: str | None,
        order: str | None,
    ) -> Any:
        from mirror.api.artifact_search import chosen
        from mirror.store.sql import bind, both, either, sql

        rows = self._registries(organization, registries)
        if rows is None:
            return MISS
        where = both(
            [
                either([sql("c.project_id = {p}", p=bind(row[4])) for row in rows]),
                sql("c.kind = 'portfolio'"),
                chosen(self.source.held.reader, "collections", collections),
            ]
        )
        found = [] if where is False else self._members(where, versions, order)
        if order is None:
            found.sort(key=lambda one: number_of(one["id"]), reverse=True)
        return [{"node": one} for one in found]

    def registry_members(self, entity: str, project: str) -> Any:
        place = self._place(entity, project)
        if place is None:
            return MISS
        rows = self._rows(
            "SELECT kind, node FROM registry_members WHERE project_id = ? AND deleted_at IS NULL"
            " ORDER BY position",
            place,
        )
        people = [_node(node) for kind, node in rows if kind == "user"]
        teams = [_node(node) for kind, node in rows if kind == "team"]
        return {
            "members": people,
            "teamMembers": [{"team": one, "role": one["role"]} for one in teams],
        }

    def organizations(self, entity: str) -> Any:
        """Offline, and never asked: the one organization that the mirror knows."""
        if self.source.mode != "offline":
            return MISS
        rows = self._rows(
            "SELECT name, org_entity FROM organizations"
            " WHERE deleted_at IS NULL AND org_entity IS NOT NULL"
        )
        if len(rows) != 1:
            return MISS
        name, owner = (unescape(text) for text in rows[0])
        return {"organization": {"name": name, "orgEntity": {"name": owner}}, "user": None}

    def organization_entity(self, organization: str) -> str | None:
        """Return the entity that owns an organization's registries; None: the mirror does not know."""
        rows = self._rows(
            "SELECT org_entity FROM organizations WHERE name = ? AND deleted_at IS NULL",
            escape(organization),
        )
        return unescape(rows[0][0]) if rows and rows[0][0] else None


def shown_membership(node: Mapping[str, Any]) -> dict[str, Any]:
    """A membership as `ApiMembershipByName` answers it, of one with all that the tables hold."""
    artifact, collection = node.get("artifact"), node.get("artifactCollection")
    if artifact:
        artifact = {name: value for name, value in artifact.items() if name not in _ONLY_KEPT}
        sequence = artifact["artifactSequence"]
        artifact["artifactSequence"] = {**sequence, "project": _owned(sequence.get("project"))}
    if collection:
        collection = {name: collection[name] for name in ("__typename", "id", "name")} | {
            "project": _owned(collection.get("project"))
        }
    return {**node, "artifact": artifact, "artifactCollection": collection}


_ONLY_KEPT: Final = (
    "storageBytes", "createdBy", "usedBy", "usedCount", "currentManifest",
)  # fmt: skip


def _owned(project: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not project:
        return None
    names = ("id", "internalId", "name")
    return {name: project.get(name) for name in names} | {"entity": {"name": project["entityName"]}}


def _file(number: int, path: str, entry: Mapping[str, Any], made_at: str | None) -> dict[str, Any]:
    """An entry as the server lists files, without the addresses and types that only it knows."""
    return {
        "id": base64.b64encode(f"ArtifactFile:{number}:{path}".encode()).decode(),
        "name": path,
        "url": entry.get("ref"),
        "directUrl": entry.get("ref"),
        "sizeBytes": entry.get("size") or 0,
        "mimetype": "",
        "updatedAt": made_at,
        "md5": entry["digest"],
        "digest": entry["digest"],
        "storagePath": None,
    }


def _alias_nodes(names: Sequence[str], collection: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"alias": name, "artifactCollection": collection} for name in names]


def _aliased(member: Mapping[str, Any]) -> dict[str, Any]:
    """The version of a membership, with the aliases it has there."""
    names = [one["alias"] for one in member["aliases"]]
    return {**member["artifact"], "aliases": _alias_nodes(names, member["artifactCollection"])}


_ONE: Final[dict[str, Any]] = {
    "ApiMembershipByName": ArtifactTables.membership,
    "ApiArtifactType": ArtifactTables.artifact_type,
    "ApiCollectionByName": ArtifactTables.collection,
    "ApiUsedBy": ArtifactTables.used_by,
    "ApiCreatedBy": ArtifactTables.created_by,
    "ApiLinkedArtifacts": ArtifactTables.links,
    "ApiRegistryByName": ArtifactTables.registry,
    "ApiRegistryMembers": ArtifactTables.registry_members,
    "ApiEntityOrganizations": ArtifactTables.organizations,
    "ApiJobs": ArtifactTables.jobs,
}
_MET: Final = {
    "ApiMembershipByName": "artifact_memberships",
    "ApiCollectionByName": "artifact_collections",
}
"""Questions whose one thing may have been read by itself, and the table that says when."""
_MANY: Final[dict[str, Any]] = {
    "ApiArtifactTypes": ArtifactTables.types,
    "ApiTypeCollections": ArtifactTables.type_collections,
    "ApiProjectCollections": ArtifactTables.project_collections,
    "ApiCollectionAliases": ArtifactTables.aliases,
    "ApiVersions": ArtifactTables.versions,
    "ApiArtifactFiles": ArtifactTables.files,
    "ApiRunOutput": ArtifactTables.run_output,
    "ApiRunInput": ArtifactTables.run_input,
    "ApiRegistries": ArtifactTables.registries,
    "ApiRegistryCollections": ArtifactTables.registry_collections,
    "ApiRegistryVersions": ArtifactTables.registry_versions,
}
