"""The manifest of an artifact version: what it holds, by path. Read once, it never changes."""

from __future__ import annotations

import base64
import enum
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from mirror.api.notices import warn
from mirror.jsontext import loads

if TYPE_CHECKING:
    from mirror.api.artifact import Artifact
    from mirror.blobs import Entry

__all__ = [
    "ArtifactDigestAlgorithm",
    "ArtifactManifest",
    "ArtifactManifestEntry",
    "StoragePolicy",
    "file_of_version",
    "logical",
]

_WANDB = "wandb-artifact"


_FETCHED = ("http", "https", "s3", "gs")
"""Schemes of references that are told by their address; others by the entry's own path."""


class ArtifactDigestAlgorithm(str, enum.Enum):  # noqa: UP042 - wandb's, whose text is the same
    """What the digests of a version's files are made with."""

    MANIFEST_MD5 = "MANIFEST_MD5"
    MANIFEST_XXH128 = "MANIFEST_XXH128"


_HASHES = {
    ArtifactDigestAlgorithm.MANIFEST_MD5: "md5",
    ArtifactDigestAlgorithm.MANIFEST_XXH128: "xxh128",
}


class LogicalPath(str):
    """A path inside an artifact, with forward slashes."""

    def to_path(self) -> PurePosixPath:
        """Return it as a path."""
        return PurePosixPath(self)

    def joinpath(self, *parts: str) -> LogicalPath:
        """Return it with parts behind it."""
        return LogicalPath(self.to_path().joinpath(*parts))


_OTHER_SPELLING = re.compile(r"(?:\A|/)\.?(?:/|\Z)")
"""A part that is empty or `.`: only then a path has another spelling, or none."""


def logical(path: str | os.PathLike[str]) -> LogicalPath:
    """Return an artifact-relative path in its one spelling."""
    return LogicalPath(_spelled(os.fspath(path)))


def _spelled(path: str) -> str:
    # A PurePosixPath a file would take as long as to copy it.
    return str(PurePosixPath(path)) if path and _OTHER_SPELLING.search(path) else path


def file_of_version(ref: str) -> tuple[str, str] | None:
    """Return the artifact id and the path that an address leads to; None for one of anything else."""
    parts = urlsplit(ref)
    if parts.scheme != _WANDB:
        return None
    try:
        identifier = base64.b64encode(bytes.fromhex(parts.netloc)).decode()
    except ValueError:  # no hexadecimal: an address that nobody wrote for us to follow
        return None
    return identifier, parts.path.removeprefix("/")


class ArtifactManifestEntry:
    """A file or a reference of an artifact: path, digest, size, ref, extra."""

    local_path: str | None = None
    skip_cache: bool = False

    def __init__(
        self,
        path: str,
        digest: str,
        ref: str | None = None,
        birth_artifact_id: str | None = None,
        size: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = logical(path)
        self.digest = digest
        self.ref = ref
        self.birth_artifact_id = birth_artifact_id
        self.size = size
        self.extra: dict[str, Any] = dict(extra or {})
        self._parent_artifact: Artifact | None = None

    @property
    def name(self) -> str:
        """Deprecated: use `path`."""
        warn("ArtifactManifestEntry.name is deprecated, use .path instead.")
        return self.path

    def parent_artifact(self) -> Artifact:
        """Return the artifact the entry was got from. Raises NotImplementedError where there is none."""
        if self._parent_artifact is None:
            raise NotImplementedError
        return self._parent_artifact

    def digest_algorithm(self) -> ArtifactDigestAlgorithm:
        """Return what the digest was made with."""
        kinds = ArtifactDigestAlgorithm
        return kinds.MANIFEST_XXH128 if self.extra.get("alg") == "XXH128" else kinds.MANIFEST_MD5

    def as_blob(self) -> Entry:
        """Return the entry as the store of contents takes it."""
        from mirror.blobs import Entry

        return Entry(
            self.path, self.digest, self.size, self.ref, self.birth_artifact_id, self.extra or None
        )

    def download(
        self, root: str | None = None, skip_cache: bool | None = None, executor: Any = None
    ) -> str:
        """Put the file below `root` (the artifact's folder by default) and return its path.

        Contents that are kept cost no request. A reference is fetched where it is http, https or file.
        Raises NotMirrored offline for contents that are not kept, UnsafeName, ContentError (also for
        references to s3, gs and others), RemoteError, FileNotFoundError.
        """
        artifact = self.parent_artifact()
        folder = str(root or artifact._default_root())
        artifact._place([self.as_blob()], folder, skip_cache=bool(skip_cache), references=True)
        return os.path.join(folder, self.path)  # noqa: PTH118 - the text callers see

    def ref_target(self) -> str:
        """Return the address a reference points to, through other versions. Raises ValueError for a file.

        Raises KeyError where another version has no such file, NotMirrored offline.
        """
        if self.ref is None:
            raise ValueError("Only reference entries support ref_target().")
        if self._parent_artifact is None:
            return self.ref
        if (home := file_of_version(self.ref)) is not None:
            identifier, path = home
            entries = self._parent_artifact._service_api.artifact_manifest(identifier).entries
            if path not in entries:
                raise KeyError(f"Path not contained in artifact: {path}")
            entries[path]._parent_artifact = self._parent_artifact
            return entries[path].ref_target()
        found = urlsplit(self.ref)
        if found.scheme == "file":
            return found.path
        return self.ref if found.scheme in _FETCHED else str(self.path)

    def ref_url(self) -> str:
        """Return an address of this entry that other artifacts can refer to."""
        identifier = self.parent_artifact().id
        if identifier is None:
            raise ValueError("Parent artifact ID is not set")
        return f"{_WANDB}://{base64.standard_b64decode(identifier).hex()}/{self.path}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields under the names of the manifest, without what is None."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def model_dump(self, *, mode: str = "json", **kwargs: Any) -> dict[str, Any]:
        """Return all fields under the names of the manifest.

        Of pydantic's options `exclude`, `include`, `exclude_none` and `by_alias` have an effect.
        """
        found = {
            "path": str(self.path),
            "digest": self.digest,
            "ref": self.ref,
            "birthArtifactID": self.birth_artifact_id,
            "size": self.size,
            "extra": self.extra,
            "local_path": self.local_path,
            "skip_cache": self.skip_cache,
        }
        return _dumped(found, kwargs)

    def model_dump_json(self, *, indent: int | None = None, **kwargs: Any) -> str:
        """Return the fields as JSON text."""
        return _json(self.model_dump(**kwargs), indent)

    def model_post_init(self, context: Any, /) -> None:
        """Do nothing: a hook of pydantic, which wandb's entries are made with."""

    def _is_artifact_reference(self) -> bool:
        return self.ref is not None and urlsplit(self.ref).scheme == _WANDB

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArtifactManifestEntry) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self.path, self.digest))

    def __repr__(self) -> str:
        shown = {
            "path": self.path,
            "digest": self.digest,
            "ref": self.ref,
            "birth_artifact_id": self.birth_artifact_id,
            "size": self.size,
            "extra": self.extra or None,
            "local_path": self.local_path,
            "skip_cache": self.skip_cache,
        }
        fields = ", ".join(
            f"{name}={value!r}" for name, value in shown.items() if value is not None
        )
        return f"{type(self).__name__}({fields})"


def _dumped(found: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the options say, which are pydantic's."""
    left_out, kept = set(options.get("exclude") or ()), options.get("include")
    if options.get("by_alias") is False and "birthArtifactID" in found:
        named = {"birthArtifactID": "birth_artifact_id"}
        found = {named.get(name, name): value for name, value in found.items()}
    return {
        name: value
        for name, value in found.items()
        if name not in left_out
        and (kept is None or name in kept)
        and not (options.get("exclude_none") and value is None)
    }


def _json(value: Any, indent: int | None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, indent=indent, ensure_ascii=False, separators=separators)


class StoragePolicy:
    """How the server lays files out, as a manifest says it."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self._name, self._config = name, dict(config)

    def name(self) -> str:
        """Return the policy's name."""
        return self._name

    def config(self) -> dict[str, Any]:
        """Return its settings, such as {"storageLayout": "V2"}."""
        return dict(self._config)


def _made_entry(path: str, item: Mapping[str, Any]) -> ArtifactManifestEntry:
    made = ArtifactManifestEntry(
        path,
        item["digest"],
        item.get("ref"),
        item.get("birthArtifactID"),
        item.get("size"),
        item.get("extra"),
    )
    if item.get("local_path"):  # where the file lay on the machine that logged it
        made.local_path = str(item["local_path"])
    if item.get("skip_cache"):
        made.skip_cache = True
    return made


class ArtifactManifest:
    """Entries by path, in the order of the stored manifest."""

    digest_algorithm = ArtifactDigestAlgorithm.MANIFEST_MD5
    """What the version's own digest is made with."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)
        self._entries: dict[str, ArtifactManifestEntry] | None = None

    @classmethod
    def from_manifest_json(
        cls,
        manifest_json: dict[str, Any],
        digest_algorithm: ArtifactDigestAlgorithm = ArtifactDigestAlgorithm.MANIFEST_MD5,
    ) -> ArtifactManifest:
        """Return the manifest of a document. Raises ValueError for a version that is not known."""
        if manifest_json.get("version") is None:
            raise ValueError("Invalid manifest format. Must contain version field.")
        if manifest_json["version"] != 1:
            raise ValueError("Invalid manifest version.")
        made = cls(manifest_json)
        made.digest_algorithm = digest_algorithm
        return made

    @classmethod
    def parsed(cls, text: bytes) -> ArtifactManifest:
        """Return the manifest of a stored text. Raises ValueError for a version that is not known."""
        return cls.from_manifest_json(loads(text.decode("utf-8", "surrogatepass")))

    @property
    def entries(self) -> dict[str, ArtifactManifestEntry]:
        """Entries by path, made when they are first asked for; the caller's to change."""
        if self._entries is None:
            contents = self._document.get("contents", {})
            made = (_made_entry(path, item) for path, item in contents.items())
            self._entries = {str(entry.path): entry for entry in made}
        return self._entries

    def _blobs(self, prefix: str = "") -> list[Entry]:
        """Return the entries whose path starts so, as the store of contents takes them."""
        if self._entries is None:
            found = self._read_blobs()
        else:
            found = {path: entry.as_blob() for path, entry in self._entries.items()}
        return [entry for path, entry in found.items() if path.startswith(prefix)]

    def _address_by_key(self, entry: Entry, entity: str, project: str, collection: str) -> str:
        """Where the API itself gives a file to who has a key, by the layout that the manifest names."""
        from mirror.blobs.digests import raw_digest

        config = self._document.get("storagePolicyConfig") or {}
        digest = raw_digest(entry.digest).hex()
        if config.get("storageLayout", "V1") == "V1":
            return f"/artifacts/{quote(entity)}/{digest}"
        region, birth = config.get("storageRegion") or "default", entry.birth_artifact_id or ""
        parts = (region, entity, project, collection, birth, digest, PurePosixPath(entry.path).name)
        return "/".join(("/artifactsV2", *(quote(part, safe="") for part in parts)))

    def _read_blobs(self) -> dict[str, Entry]:
        """Entries as they are stored: a download needs none of what the public objects can."""
        from mirror.blobs import Entry

        found: dict[str, Entry] = {}
        for path, item in self._document.get("contents", {}).items():
            spelled, get = _spelled(path), item.get
            found[spelled] = Entry(
                spelled,
                item["digest"],
                get("size"),
                get("ref"),
                get("birthArtifactID"),
                get("extra"),
            )
        return found

    @classmethod
    def version(cls) -> int:
        """Return the version of the format: 1."""
        return 1

    @property
    def manifest_version(self) -> int:
        """The version of the format: 1."""
        return 1

    @property
    def storage_policy(self) -> StoragePolicy:
        """How the server lays the files out."""
        named = self._document.get("storagePolicy") or "wandb-storage-policy-v1"
        return StoragePolicy(named, self._document.get("storagePolicyConfig") or {})

    def to_manifest_json(self) -> dict[str, Any]:
        """Return the manifest as it is stored."""
        fields = ("digest", "ref", "birthArtifactID", "size", "extra")
        contents = {
            path: {
                name: value
                for name, value in entry.model_dump(include=fields).items()
                if value is not None and value != {}
            }
            for path, entry in self.entries.items()
        }
        policy = self.storage_policy
        return {
            "version": self.manifest_version,
            "storagePolicy": policy.name(),
            "storagePolicyConfig": policy.config(),
            "contents": contents,
        }

    def digest(self) -> str:
        """Return the digest of the version, computed of its entries: hexadecimal.

        Raises ContentError for XXH128 where `xxhash` is not installed.
        """
        from mirror.blobs.digests import new_hash

        found = new_hash(_HASHES[self.digest_algorithm])
        found.update(b"wandb-artifact-manifest-v1\n")
        for path in sorted(self.entries):
            found.update(f"{path}:{self.entries[path].digest}\n".encode())
        return found.digest().hex()

    def hash_contents_with_md5(self) -> None:
        """Do nothing: only files that are not logged yet can be hashed anew."""

    def add_entry(self, entry: ArtifactManifestEntry, overwrite: bool = False) -> None:
        """Add an entry to this object. Raises ValueError where its path has other contents."""
        known = self.entries.get(entry.path)
        if not overwrite and known is not None and known.digest != entry.digest:
            raise ValueError(f"Cannot add the same path twice: {entry.path!r}")
        self.entries[entry.path] = entry

    def remove_entry(self, entry: ArtifactManifestEntry) -> None:
        """Take an entry from this object. Raises FileNotFoundError where there is none."""
        if entry.path not in self.entries:
            raise FileNotFoundError(f"Cannot remove missing entry: {entry.path!r}")
        del self.entries[entry.path]

    def model_dump(self, *, mode: str = "json", **kwargs: Any) -> dict[str, Any]:
        """Return the version of the format and the entries, as pydantic would."""
        deep = {name: kwargs[name] for name in ("exclude_none", "by_alias") if name in kwargs}
        entries = {path: entry.model_dump(**deep) for path, entry in self.entries.items()}
        found = {"manifest_version": self.manifest_version, "entries": entries}
        return _dumped(found, kwargs)

    def model_dump_json(self, *, indent: int | None = None, **kwargs: Any) -> str:
        """Return the same as JSON text."""
        return _json(self.model_dump(**kwargs), indent)

    def __len__(self) -> int:
        return len(self.entries)

    def size(self) -> int:
        """Return the bytes of all entries."""
        return sum(entry.size or 0 for entry in self._blobs())

    def get_entry_by_path(self, path: str) -> ArtifactManifestEntry | None:
        """Return the entry of a path, or None."""
        return self.entries.get(path)

    def get_entries_in_directory(self, directory: str) -> list[ArtifactManifestEntry]:
        """Return the entries below a folder."""
        return [entry for key, entry in self.entries.items() if key.startswith(f"{directory}/")]

    def __repr__(self) -> str:
        return f"ArtifactManifestV1(entries={self.entries!r})"


def files_below(root: str) -> list[tuple[str, str]]:
    """Return the files below a folder: where each is, and its path in the folder."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - the text callers see
            found.append((path, Path(os.path.relpath(path, root)).as_posix()))
    return found
