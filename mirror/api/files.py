"""Files of a run: Files, File, downloads. What was downloaded is kept beside the store."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mirror.api.attrs import Attrs
from mirror.api.notices import warn
from mirror.api.paginator import SizedPaginator
from mirror.api.raising import normalized
from mirror.blobs import safe_target
from mirror.jsontext import loads

if TYPE_CHECKING:
    from mirror.api.artifact import Artifact
    from mirror.api.runs import Run
    from mirror.api.source import Source
    from mirror.blobs import Downloaded, Progress

__all__ = ["File", "Files", "download_all", "read_metadata"]

METADATA = "wandb-metadata.json"


_NOTHING = {
    "id": None,
    "name": None,
    "url": None,
    "directUrl": "",
    "sizeBytes": 0,
    "mimetype": "",
    "updatedAt": None,
    "md5": "0",
}
"""What the server answers for a file that is asked for by name and is not there."""


class Files(SizedPaginator["File"]):
    """The files of a run, loaded page by page. `len()` counts all of the run's, chosen or not."""

    def __init__(
        self,
        service_api: Source,
        run: Run,
        names: list[str] | None = None,
        per_page: int = 50,
        upload: bool = False,
        pattern: str | None = None,
    ) -> None:
        if names and pattern:
            raise ValueError(
                "Querying for files by both names and pattern is not supported. "
                "Please provide either a list of names or a pattern to match."
            )
        self.run = run
        self._names = names or []
        self._pattern = pattern
        self._found: list[Mapping[str, Any]] | None = None
        self._total = 0
        variables = {
            "project": run.project,
            "entity": run.entity,
            "name": run.id,
            "fileNames": self._names,
            "upload": upload,
            "pattern": pattern,
        }
        super().__init__(service_api, variables, per_page)

    @property
    def _length(self) -> int:
        if self._found is None:
            self._load_page()
        return self._total

    @property
    def more(self) -> bool:
        """Whether there are more files to load."""
        return self._found is None or len(self.objects) < len(self._found)

    @property
    def cursor(self) -> str | None:
        """A text that marks where the loaded files end; None before the first page."""
        return str(len(self.objects)) if self._found is not None else None

    def update_variables(self) -> None:
        """Note in `variables` where the next page begins."""
        self.variables.update({"fileLimit": self.per_page, "fileCursor": self.cursor})

    def _update_response(self) -> None:
        if self._found is not None:
            return
        listed = self._service_api.files(self.run) or {"fileCount": 0, "files": []}
        self._total = int(listed["fileCount"] or 0)
        files = listed["files"]
        if self._names:  # the server answers in the order asked, an empty file for a missing name
            by_name = {node["name"]: node for node in files}
            self._found = [by_name.get(name) or {**_NOTHING, "name": name} for name in self._names]
        else:
            pattern = self._pattern
            self._found = [n for n in files if pattern is None or _like(pattern, n["name"])]

    def convert_objects(self) -> list[File]:
        """Return the next page of files."""
        start = len(self.objects)
        page = (self._found or [])[start : start + self.per_page]
        return [File(self._service_api, dict(node), self.run) for node in page]

    def __repr__(self) -> str:
        return f"<Files {'/'.join(self.run.path)} ({len(self)})>"


def _like(pattern: str, name: str) -> bool:
    """SQL LIKE: % is any text, _ any character."""
    parts = (".*" if char == "%" else "." if char == "_" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None


class File(Attrs):
    """A file of a run or of an artifact: its name, size, type, address, and `download()`."""

    def __init__(
        self,
        service_api: Source,
        attrs: dict[str, Any],
        run: Run | None = None,
        *,
        artifact: Artifact | None = None,
    ) -> None:
        super().__init__(attrs)
        self._service_api = service_api
        self.run = run
        self._artifact = artifact

    @property
    def size(self) -> int:
        """Bytes; 0 where they are not known."""
        return int(self._attrs["sizeBytes"] or 0)

    @property
    def path_uri(self) -> str:
        """The s3:// address of a file kept in S3, the address of a reference; else ""."""
        direct: str | None = self._attrs.get("directUrl")
        if not direct:
            warn("Unable to find direct_url of file")
            return ""
        if direct == self._attrs.get("url"):
            return direct
        if not re.match(r"https?://.*s3.*amazonaws\.com.*", direct):
            warn("path_uri is only available for files stored in S3")
            return ""
        parts = urlsplit(direct)
        return f"s3://{parts.netloc.split('.')[0]}/{parts.path.lstrip('/')}"

    @normalized
    def download(
        self,
        root: str = ".",
        replace: bool = False,
        exist_ok: bool = False,
        api: Any = None,
    ) -> io.TextIOWrapper:
        """Put the file below a folder and return it, open for reading as text.

        Args:
            root: the folder. replace: overwrite a file that is there. exist_ok: return one that is there.
            api: the Api to download with; None: this file's.

        Raises:
            CommError: the file is there already, or its name leads out of the folder.
            NotMirrored: offline, and it was never downloaded.
        """
        path = safe_target(root, self.name)
        if path.exists() and not replace:
            if exist_ok:
                return path.open()
            raise ValueError(
                "File already exists, pass replace=True to overwrite or exist_ok=True to leave it as is "
                "and don't error."
            )
        source = self._service_api if api is None else api._service_api
        if self._artifact is not None:
            entry = self._artifact.get_entry(self.name)
            self._artifact._place([entry.as_blob()], str(root), references=True)
            return path.open()
        if self.run is None:
            raise ValueError(f"file {self.name!r} belongs to no run")
        source.download_files(self.run, [self._attrs], Path(root))
        return path.open()

    def delete(self) -> None:
        """Refused: a write. Raises UnsupportedError, offline OfflineError."""
        self._service_api.refuse_write("File.delete")

    def __repr__(self) -> str:
        return f"<File {self.name} ({self.mimetype}) {_human(self.size)}>"


def download_all(
    files: Sequence[File],
    root: str | os.PathLike[str],
    *,
    on_progress: Callable[[Progress], object] | None = None,
) -> Downloaded:
    """Put files of one run below a folder, in parallel; those that are there are replaced.

    Each is whole or not there at all, and contents that are kept cost no request. Raises MirrorError.
    """
    run = files[0].run
    assert run is not None
    nodes = [file._attrs for file in files]
    return files[0]._service_api.download_files(run, nodes, Path(root), on_progress=on_progress)


def _human(size: int) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    for place, unit in enumerate(units):
        factor = round(size / 2.0 ** (10 * place), 1)
        if factor < 1024 or place == len(units) - 1:
            return f"{factor}{unit}"
    raise AssertionError


def read_metadata(run: Run) -> dict[str, Any] | None:
    """Return what a run's wandb-metadata.json holds; None where it has none or it cannot be read."""
    found = [file for file in run.files(names=[METADATA]) if file.size or file.updated_at]
    if not found:
        return None
    try:
        text = run._service_api.contents(found[0]).decode(errors="replace")
        value = loads(text)
    except (ValueError, FileNotFoundError):
        return None
    return value if isinstance(value, dict) else None
