"""Where a name from a server may lead on this machine: always to a file below the folder asked for.

The rules are those of the real client and some more. Pure, but for what a folder is and for links
that lie in it.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from mirror.errors import UnsafeName

__all__ = ["Target", "Targets", "ignores_case", "safe_target"]

NAME_BYTES, PATH_BYTES = 255, 4095
"""What file systems take: bytes of one part, bytes of a whole path."""

_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])[ .:]*(\..*)?", re.I
)


def safe_target(
    root: str | os.PathLike[str], entry_path: str, *, windows_names: bool = False
) -> Path:
    """Return the file below `root` that an entry's path names. Nothing is made.

    With `windows_names` (a disk of Windows, mounted here) names of devices, and parts that end in a dot
    or a space, are refused too; elsewhere they are names like any other, and the real client downloads
    them. Raises UnsafeName.
    """
    target = _named(Path(root), entry_path, windows_names)
    _check_links(Path(root), target.parent, entry_path)
    return target


_PART = r"(?!\.\.?(?:/|\Z))[^\0/\\:\ud800-\udfff]{1,63}"
_PLAIN = re.compile(rf"{_PART}(?:/{_PART}){{0,8}}")
"""Names that need no second look: relative, short in UTF-8, one spelling, no drive and no backslash."""


def _named(root: Path, entry_path: str, windows_names: bool) -> Path:
    path = PurePosixPath(entry_path)
    problem = _problem(entry_path, path, windows_names)
    if problem is not None:
        raise UnsafeName(entry_path, problem)
    target = root.joinpath(*path.parts)
    if len(os.fsencode(target)) > PATH_BYTES:
        raise UnsafeName(entry_path, "the whole path is too long")
    return target


def _check_links(root: Path, folder: Path, entry_path: str) -> None:
    """Refuse a folder that a link below `root` takes out of it."""
    if folder == root:
        return
    real, inside = os.path.realpath(root), os.path.realpath(folder)
    if not inside.startswith(real if real.endswith(os.sep) else real + os.sep):
        raise UnsafeName(entry_path, "a symbolic link in the folder leads out of it")


def _problem(text: str, path: PurePosixPath, windows_names: bool) -> str | None:
    windows = PureWindowsPath(text)
    if "\0" in text:
        return "it has a NUL character"
    if path.anchor or windows.anchor:
        return "it is an absolute path"
    if ".." in path.parts or ".." in windows.parts:
        return "it leads upwards (..)"
    if not path.parts:
        return "it names no file"
    try:
        sizes = [len(os.fsencode(part)) for part in path.parts]
    except UnicodeEncodeError:
        return "it has characters that no file name can have"
    if max(sizes) > NAME_BYTES:
        return f"a part has {max(sizes)} bytes, {NAME_BYTES} are possible"
    if windows_names:
        return _windows_problem(path)
    return None


def _windows_problem(path: PurePosixPath) -> str | None:
    for part in path.parts:
        if _DEVICES.fullmatch(part):
            return f"{part!r} is a device on this file system"
        if part[-1] in ". " or ":" in part:
            return f"{part!r} is another file on this file system"
    return None


def ignores_case(folder: Path, *, is_new: bool = False) -> bool:
    """Whether an existing folder takes `a` and `A` for the same name.

    A new folder (`is_new`) does as the one it is in, which is asked for its name: no file has to be made.
    """
    other = folder.name.swapcase()
    if is_new and folder.name.isascii() and other != folder.name:
        try:
            return folder.samefile(folder.with_name(other))
        except OSError:
            return False
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".mirror-case-") as file:
        path = Path(file.name)
        return path.with_name(path.name.upper()).exists()


class Target(NamedTuple):
    """A file to make; `is_free`: its folder was made for it, so there is nothing in its place."""

    path: str
    is_free: bool


class Targets:
    """The files of one download below a folder: each name once, no file where a folder has to be."""

    def __init__(self, root: Path, *, case_matters: bool | None = None) -> None:
        """Make the folder. `case_matters`: whether `a` and `A` are two files; None: try it out."""
        self.root = root
        is_new = self._make_folder(root)
        self._folders = {str(root): is_new}
        self._prefix = f"{root}/" if str(root) != "/" else "/"
        self._plain = len(os.fsencode(root)) < PATH_BYTES - 2300
        if case_matters is None:
            case_matters = not ignores_case(root, is_new=is_new)
        self._case_matters = case_matters
        # A Mac takes `aux.txt` and `a:b` for names like any other.
        self._windows_names = not self._case_matters and sys.platform != "darwin"
        self._plain = self._plain and not self._windows_names
        self._taken: dict[str, str] = {}

    def take(self, entry_path: str) -> Target:
        """Return the target of an entry, with its folder made.

        Raises UnsafeName, also where another entry has the same file; IsADirectoryError and
        NotADirectoryError where the folder holds something else already.
        """
        target = self._named(entry_path)
        key = target if self._case_matters else _folded(target)
        other = self._taken.setdefault(key, entry_path)
        if other != entry_path:
            raise UnsafeName(entry_path, f"on this file system it is the same file as {other!r}")
        folder = target.rpartition("/")[0]
        is_new = self._folders.get(folder)
        if is_new is None:
            _check_links(self.root, Path(folder), entry_path)
            is_new = self._folders[folder] = self._make_folder(Path(folder))
        return Target(target, is_new)

    def _named(self, entry_path: str) -> str:
        # Paths cost more than the files they name, where those are small and many.
        if self._plain and _PLAIN.fullmatch(entry_path):
            return f"{self._prefix}{entry_path}"
        _named(self.root, entry_path, self._windows_names)
        return f"{self._prefix}{'/'.join(PurePosixPath(entry_path).parts)}"

    def _make_folder(self, folder: Path) -> bool:
        """Make a folder if need be; return whether it is new, and so has no file."""
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            if folder.is_dir():
                return False
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error  # fmt: skip
        return True


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
