"""What a sync says while it runs (Event) and when it has ended (SyncReport). Values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = [
    "EXIT_FAILED",
    "EXIT_FRESH",
    "EXIT_HELD",
    "EXIT_PARTLY",
    "Event",
    "ProjectReport",
    "SyncReport",
]

EXIT_FRESH, EXIT_FAILED, EXIT_PARTLY, EXIT_HELD = 0, 1, 3, 4

_UNASKED = ("registry", "registries")
"""Kinds of reports on what every round takes besides the projects it was asked for."""

EventKind = Literal[
    "started",
    "project",
    "page",
    "reconcile",
    "quarantined",
    "warning",
    "finished",
    "failed",
    "done",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `done` of `total` runs where both are known; `requests` of the round."""

    kind: EventKind
    path: str | None = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    message: str | None = None
    requests: int | None = None


@dataclass(slots=True)
class ProjectReport:
    """What a sync did to one project."""

    path: str
    kind: str = ""
    """first, incremental, reconcile or full"""
    runs: int = 0
    """documents read and written, twice-seen ones twice"""
    new: int = 0
    changed: int = 0
    """runs held that were found to differ, and read again"""
    tombstoned: int = 0
    revived: int = 0
    out_of_selection: int = 0
    reread: int = 0
    missed: int = 0
    """edits that only the reconcile found"""
    sweeps: int = 0
    collections: int = 0
    """artifact collections that were new, had moved, or were compared"""
    versions: int = 0
    """artifact versions read and written, links of them too"""
    versions_new: int = 0
    versions_gone: int = 0
    """places of versions in collections that are there no more"""
    registries_gone: int = 0
    manifests: int = 0
    failed_stages: list[str] = field(default_factory=list)
    """what could not be read besides the runs; the project itself is not failed by it"""
    quarantined: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    complete: bool = False
    server_count: int | None = None
    synced_at: str | None = None


@dataclass(slots=True)
class SyncReport:
    """What a sync round did: counts, requests, bytes, failures, quarantine."""

    started_at: str
    finished_at: str | None = None
    projects: list[ProjectReport] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    requests: int = 0
    bytes: int = 0
    """response bodies after decompression"""
    retries: int = 0
    elapsed_s: float = 0.0
    store: str = ""
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0 fresh, 1 all failed, 3 some failed (or left something behind)."""
        if self.interrupted:
            return EXIT_PARTLY
        if not self.failures:
            left = self.quarantine or self.refused or self.failed_stages
            return EXIT_PARTLY if left else EXIT_FRESH
        asked = [p for p in self.projects if p.kind not in _UNASKED]
        return EXIT_PARTLY if any(p.error is None for p in asked) else EXIT_FAILED

    @property
    def ok(self) -> bool:
        """Whether everything asked for is fresh."""
        return self.exit_code == EXIT_FRESH

    @property
    def quarantine(self) -> list[str]:
        """Paths of runs that the server could not deliver."""
        return [f"{p.path}/{name}" for p in self.projects for name in p.quarantined]

    @property
    def failed_stages(self) -> list[str]:
        """`path: stage` of what could not be read besides the runs of a project."""
        return [f"{p.path}: {stage}" for p in self.projects for stage in p.failed_stages]

    @property
    def refused(self) -> list[str]:
        """Paths of projects where too many runs are missing to be marked without being asked."""
        return [p.path for p in self.projects if any("--yes" in text for text in p.warnings)]

    def total(self, name: str) -> int:
        """Sum one count over all projects."""
        return sum(getattr(project, name) for project in self.projects)

    @property
    def counts(self) -> dict[str, int]:
        """Sums over all projects, by name."""
        names = (
            "runs", "new", "changed", "tombstoned", "revived", "out_of_selection", "reread", "missed",
            "sweeps", "collections", "versions", "versions_new", "versions_gone", "registries_gone",
            "manifests",
        )  # fmt: skip
        return {name: self.total(name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return {
            **asdict(self),
            "counts": self.counts,
            "quarantine": self.quarantine,
            "exit_code": self.exit_code,
        }
