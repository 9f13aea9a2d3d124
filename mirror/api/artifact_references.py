"""Entries that refer to files of other versions: what they lead to, and where that is fetched.

`wandb-artifact://<hex of an artifact id>/<path>` is what `add_reference(entry)` of the real client
stores. Such an entry has the digest of the file it leads to, and no size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mirror.api.manifest import ArtifactManifest, file_of_version
from mirror.blobs import Entry, is_digest
from mirror.errors import NotFound, NotMirrored

__all__ = ["References"]


class References:
    """The references of one download."""

    def __init__(
        self,
        artifact_id: str,
        manifest_of: Callable[[str], ArtifactManifest],
        addresses_of: Callable[[str, Sequence[Entry]], Mapping[str, str]],
    ) -> None:
        self._artifact_id = artifact_id
        self._manifest_of = manifest_of
        self._addresses_of = addresses_of
        self._manifests: dict[str, dict[str, Entry]] = {}
        self._homes: dict[str, tuple[str, str]] = {}
        """path of an entry → id and path in the version that has the file"""

    def followed(self, entry: Entry) -> Entry:
        """Return what an entry leads to in the end, under its own path: a file, or an address elsewhere.

        Raises NotFound where the other version has no such file.
        """
        found, seen = entry, set[str]()
        while found.ref is not None and found.ref not in seen:
            seen.add(found.ref)
            home = file_of_version(found.ref)
            if home is None:
                break
            self._homes[entry.path] = home
            found = self._at(*home, found)
        return found._replace(path=entry.path)

    def _at(self, artifact_id: str, path: str, entry: Entry) -> Entry:
        if artifact_id not in self._manifests:
            try:
                entries = self._manifest_of(artifact_id)._blobs()
            except NotMirrored:
                if not is_digest(entry.digest):
                    raise
                # Whether the contents are here is said by the digest alone.
                return entry._replace(ref=None, size=None)
            self._manifests[artifact_id] = {each.path: each for each in entries}
        there = self._manifests[artifact_id].get(path)
        if there is None:
            raise NotFound(
                f"{entry.path!r} refers to {path!r} of artifact {artifact_id}, which has no such file"
            )
        return there

    def addresses(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return signed addresses by path: of the version's own files, and of those of others."""
        wanted: dict[str, dict[str, Entry]] = {}
        for entry in entries:
            home, path = self._homes.get(entry.path, (self._artifact_id, entry.path))
            wanted.setdefault(home, {})[entry.path] = entry._replace(path=path)
        found: dict[str, str] = {}
        for home, asked in wanted.items():
            given = self._addresses_of(home, list(asked.values()))
            found |= {path: given[one.path] for path, one in asked.items() if given.get(one.path)}
        return found
