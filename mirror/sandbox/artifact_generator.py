"""Many artifacts from a seed: sequences with versions, files that mostly stay, lineage, registries.

Files are stored nowhere: a generated version writes its entries and their bytes anew from its
seed whenever they are asked for, so that 50,000 versions need little memory.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

from mirror.sandbox.artifact_objects import Artifact, Collection, Entry, shelf
from mirror.sandbox.artifact_world import ArtifactWorld, digest_of
from mirror.sandbox.clock import instant_us, stamp_of_us
from mirror.sandbox.contents import hex_of, md5_of
from mirror.sandbox.generator import PEOPLE, WORDS
from mirror.sandbox.objects import Project, Run, User
from mirror.sandbox.world import World

TYPES: Final = ("dataset", "model", "evaluation")
TAGS: Final = ("clean", "gold", "small", "v2 schema", "needs-review", "größe")
ALIASES: Final = ("production", "staging", "best", "candidate")
KEPT: Final = 64
DAY_US: Final = 86_400_000_000


class GeneratedArtifact(Artifact):
    """A version whose entries and files come from its place in its sequence until some are set."""

    __slots__ = ("_digest", "_entries", "file_total")
    kind = "Artifact"
    file_total: int
    _digest: str
    _entries: Sequence[Entry]

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries or made_up_entries(self)

    @entries.setter
    def entries(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    @property
    def digest(self) -> str:
        if not self._digest:
            self._digest = digest_of(self.entries)
        return self._digest

    @digest.setter
    def digest(self, digest: str) -> None:
        self._digest = digest

    def made_up(self, hexdigest: str) -> bytes | None:
        """Return the file born with this version that has a digest."""
        at = places(self).get(hexdigest)
        return None if at is None else content(self.sequence.number, at, self.index or 0)


def born(index: int, at: int) -> int:
    """Return since which version a file is as it is: the n-th changes every (n mod 5) + 1."""
    return index - index % (at % 5 + 1)


@lru_cache(maxsize=KEPT)
def made_up_entries(artifact: GeneratedArtifact) -> Sequence[Entry]:
    """Write the entries of a version, by path."""
    sequence, index = artifact.sequence, artifact.index or 0
    found = []
    for at in range(artifact.file_total):
        since = born(index, at)
        body = content(sequence.number, at, since)
        birth = sequence.logged[since] if since < len(sequence.logged) else artifact
        found.append(Entry(file_name(at), md5_of(body), len(body), birth_id=birth.id))
    return sorted(found, key=lambda entry: entry.path)


@lru_cache(maxsize=KEPT)
def places(artifact: GeneratedArtifact) -> Mapping[str, int]:
    """Return hex digest → number of the files born with a version."""
    index, total = artifact.index or 0, artifact.file_total
    numbers = [at for at in range(total) if born(index, at) == index]
    number = artifact.sequence.number
    return {hex_of(md5_of(content(number, at, index))): at for at in numbers}


def file_name(at: int) -> str:
    return f"part-{at:05}.txt" if at % 3 else f"folder {at % 7}/größe-{at:05}.txt"


def content(sequence: int, at: int, since: int) -> bytes:
    """Write the file at a place, as it is since a version."""
    return f"{sequence}/{at}/{since}\n".encode() * ((sequence + at * 7) % 9 + 1)


# ------------------------------------------------------------------------------- projects


def generate_artifacts(
    world: World,
    path: str,
    versions: int = 1000,
    collections: int = 20,
    files: int = 3,
    seed: int = 7,
) -> Project:
    """Fill a project (made if need be) with sequences of versions, and return it.

    The same seed, the same artifacts. Each version has `files` files. Creation times lie between
    400 and 2 days before the world's now. Every second version was logged by a run of the project,
    if there are any, and one in five is used by one.
    """
    with world.lock:
        entity, _, name = path.partition("/")
        project = world.projects.get(path) or world.add_project(entity, name)
        chance = random.Random(seed)
        runs = [run for run in project.runs.values() if run.deleted_at is None]
        people = [world.users.get(one) or world.add_user(one) for one in PEOPLE]
        start = instant_us(world.stamp()) - 400 * DAY_US
        made = [made_up_collection(world, project, at, chance, start) for at in range(collections)]
        for at in range(versions):
            at_us = start + 398 * DAY_US * at // max(versions, 1)
            sequence = made[at % collections]
            log(world, sequence, chance, stamp_of_us(at_us), files, runs, people)
        return project


def made_up_collection(
    world: World, project: Project, at: int, chance: random.Random, start_us: int
) -> Collection:
    name = f"{chance.choice(WORDS)}-{chance.choice(WORDS)}-{len(shelf(project).collections)}"
    return world.artifacts.add_collection(
        f"{project.path}/{name}", TYPES[at % len(TYPES)],
        created_at=stamp_of_us(start_us), tags=made_up_tags(chance),
        description=f"what {chance.choice(WORDS)} gave" if chance.random() < 0.5 else None,
    )  # fmt: skip


def made_up_tags(chance: random.Random) -> list[str]:
    return chance.sample(TAGS, chance.choices((0, 1, 2, 3), (40, 30, 20, 10))[0])


def log(
    world: World, sequence: Collection, chance: random.Random, at: str, files: int,
    runs: Sequence[Run], people: Sequence[User],
) -> GeneratedArtifact:  # fmt: skip
    known: ArtifactWorld = world.artifacts
    logged_by = chance.choice(runs) if runs and chance.random() < 0.5 else chance.choice(people)
    artifact = GeneratedArtifact(
        world.number(), sequence, "", at, metadata=made_up_metadata(chance), created_by=logged_by,
        tags=made_up_tags(chance), wanted_aliases=["latest"],
        history_step=chance.randrange(1000) if isinstance(logged_by, Run) else None,
        description=f"from {chance.choice(WORDS)}" if chance.random() < 0.1 else None,
    )  # fmt: skip
    artifact.file_total = artifact.file_count = files
    if chance.random() < 0.1:
        artifact.wanted_aliases.append(chance.choice(ALIASES))
    known.add(artifact)
    known.commit(artifact, at=at)
    index = artifact.index or 0
    artifact.size = sum(len(content(sequence.number, n, born(index, n))) for n in range(files))
    if runs and chance.random() < 0.2:
        known.use(artifact, chance.choice(runs), chance.choice(("input", None)))
    return artifact


def made_up_metadata(chance: random.Random) -> str | None:
    if chance.random() < 0.1:
        return None
    found: dict[str, Any] = {
        "rows": chance.randrange(10_000),
        "score": chance.choice((chance.random(), float("nan"), None, "n/a")),
        "source": {"name": chance.choice(WORDS), "splits": ["train", "test"]},
    }
    return json.dumps(found)


# ------------------------------------------------------------------------------- registries


def generate_registries(
    world: World,
    organization: str,
    source: str,
    collections: int = 200,
    registries: int = 4,
    links: int = 3,
    seed: int = 7,
) -> list[Project]:
    """Add registries with portfolios to an organization, and link versions of a project into them.

    Names are "registry-0" …; each collection has tags and up to `links` links. Returns the
    registries' projects.
    """
    with world.lock:
        chance = random.Random(seed)
        known = world.artifacts
        old = stamp_of_us(
            instant_us(world.stamp()) - timedelta(days=30) // timedelta(microseconds=1)
        )
        made = [
            known.add_registry(
                organization, f"registry-{at}", description=f"registry {at}", created_at=old
            )
            for at in range(registries)
        ]
        by_type: dict[str, list[Artifact]] = {}
        for one in shelf(world.projects[source]).collections.values():
            by_type.setdefault(one.type.name, []).extend(m.artifact for m in one.members)
        for at in range(collections):
            kind = list(by_type)[at % len(by_type)]
            path = f"{made[at % registries].path}/{chance.choice(WORDS)}-{at}"
            known.add_collection(
                path, kind, "portfolio", created_at=old, tags=made_up_tags(chance),
                description=f"collection {at}",
            )  # fmt: skip
            for artifact in chance.sample(by_type[kind], min(links, len(by_type[kind]))):
                wanted = [chance.choice(ALIASES)] if chance.random() < 0.3 else []
                known.link(artifact, path, wanted, at=old)
        return made
