"""The locked versions serve what pyproject.toml asks for, with hashes, and name no registry."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = {
    "demo.txt": ("postgres", "sandbox"),
    "dev.txt": ("postgres", "sandbox", "pandas", "xxhash"),
}


def _wanted(file: str) -> Iterator[Requirement]:
    extras, groups = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    lists = [PROJECT["project"]["dependencies"], *(extras[name] for name in FILES[file])]
    lists += [groups["build"], groups["dev"] if file == "dev.txt" else []]
    for text in (text for texts in lists for text in texts if isinstance(text, str)):
        if not text.startswith("wandb-mirror"):
            yield Requirement(text)


def _locked(file: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    text = (ROOT / "requirements" / file).read_text()
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_requirement_is_locked_to_a_version_that_serves_it(file: str) -> None:
    locked = _locked(file)
    for wanted in _wanted(file):
        versions = locked.get(canonicalize_name(wanted.name))
        assert versions, f"{wanted} is not in requirements/{file}: run `make lock`"
        assert all(wanted.specifier.contains(version, prereleases=True) for version in versions)


@pytest.mark.parametrize("file", FILES)
def test_every_version_has_hashes_and_no_address(file: str) -> None:
    text = (ROOT / "requirements" / file).read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    for part in re.split(r"(?m)^(?=\S)", text)[1:]:
        assert "--hash=sha256:" in part, part.splitlines()[0]


def test_the_larger_lock_holds_the_smaller() -> None:
    """The Makefile relies on it: who has set up for the tests need not set up for the demo."""
    larger = _locked("dev.txt")
    for name, versions in _locked("demo.txt").items():
        assert larger[name] == versions
