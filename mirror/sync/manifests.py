"""Manifests: the entries of a version, read once. For `depth = "manifests"`, and when one is asked for."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from mirror import ingest_artifacts, instants
from mirror.errors import NotFound, RemoteError
from mirror.jsontext import escape
from mirror.remote.client import Client
from mirror.remote.downloads import persist
from mirror.store import tables
from mirror.store.store import Store

__all__ = ["read_manifest", "unread"]


class _Bytes:
    """What a download is gathered in."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def length(self) -> int:
        return len(self.data)

    def write(self, chunk: bytes, /) -> None:
        self.data += chunk

    def restart(self) -> None:
        self.data.clear()


def read_manifest(
    client: Client, store: Store, artifact_id: str, *, lease: int | None = None
) -> int:
    """Fetch a version's manifest and write its entries; return how many.

    Raises NotFound when the server has the version or its manifest no more, RemoteError.
    """
    for again in (True, False):
        node = client.execute("MirrorManifest", id=artifact_id).get("artifact")
        address = (((node or {}).get("currentManifest") or {}).get("file") or {}).get("directUrl")
        if not address:
            raise NotFound(
                f"artifact {artifact_id}: the server has no manifest of it (deleted, or not committed)",
                operation="MirrorManifest",
            )
        sink = _Bytes()
        try:
            persist(client, address, sink)
            break
        except RemoteError:
            if not again:  # an address that ran out is asked for once more
                raise
    try:
        manifest = orjson.loads(bytes(sink.data))
    except orjson.JSONDecodeError as error:
        raise RemoteError(
            f"artifact {artifact_id}: its manifest is no JSON ({error})", operation="MirrorManifest"
        ) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("contents"), dict):
        raise RemoteError(
            f"artifact {artifact_id}: its manifest has no contents", operation="MirrorManifest"
        )
    with store.begin(lease=lease) as tx:
        return ingest_artifacts.ingest_manifest(tx, artifact_id, manifest, synced_at=instants.now())


def unread(store: Store, collection_ids: list[str], limit: int) -> list[str]:
    """Ids of committed versions of collections whose manifest was never read, newest first."""
    v, m = tables.artifacts.c, tables.artifact_memberships.c
    members: Any = sa.select(m.artifact_id).where(
        m.collection_id.in_([escape(each) for each in collection_ids]), m.deleted_at.is_(None)
    )
    rows = store.rows(
        sa.select(v.id)
        .where(v.id.in_(members), v.manifest_read_at.is_(None), v.state == "COMMITTED")
        .order_by(v.created_at_us.desc())
        .limit(limit)
    )
    return [str(row["id"]) for row in rows]
