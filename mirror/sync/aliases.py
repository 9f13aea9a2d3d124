"""Who has which alias of a collection now, held against the store. Aliases move without a trace in time.

What the pulse shows decides (`pulse.Question`): a list, or a number and the holders of the aliases
held. Where that is not as held, the aliases of the collection are listed, page by page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mirror import ingest_artifacts as door
from mirror.remote.pages import Page, page_of
from mirror.store.store import Row
from mirror.sync.artifact_task import LIGHT_PAGE, ArtifactTask
from mirror.sync.pulse import Question, counted
from mirror.sync.state import chunks

__all__ = ["Aliases"]

RARE_A_COLLECTION = 100
"""A collection with more aliases that a pulse does not ask for is listed: that is no more to read."""
RARE_A_REQUEST = 500


@dataclass(slots=True)
class _Listed:
    """What a listing of aliases tells: alias → artifact id without `v<N>`, how many with them."""

    holders: dict[str, str] = field(default_factory=dict)
    total: int = 0
    versions: int = 0
    blind: bool = False
    """whether the server lists aliases and does not say whose they are"""

    def add(self, page: Page) -> None:
        given = {
            each["alias"]: each["artifact"]["id"] for each in page.nodes if each.get("artifact")
        }
        own = door.aliases_of(page.nodes)
        self.holders |= {name: given[name] for name in own if name in given}
        self.blind |= any(name not in given for name in own)
        self.total += len(page.nodes) + page.nulls
        self.versions += len(page.nodes) - len(own)


@dataclass(slots=True)
class Aliases:
    """The aliases of one place, for one round."""

    task: ArtifactTask
    question: Question
    rare: list[tuple[str, str, str]] = field(default_factory=list)
    """(collection, alias, who has it as held) that the pulse did not ask for"""
    proven: int = 0
    disproven: int = 0
    with_versions: bool = False
    long: Mapping[str, Any] | None = None
    """a collection with more aliases than a pulse lists, all read as its members were"""

    def shown(self, node: Mapping[str, Any]) -> dict[str, str]:
        """Who has aliases, as far as the pulse shows it."""
        if node.get("aliases") is not None:
            return self._first(node).holders
        return {name: who for name, who in self.question.named(node).items() if who is not None}

    def are_blind(self, node: Mapping[str, Any]) -> bool:
        """Whether the pulse shows aliases and not who has them: only the members themselves tell."""
        return node.get("aliases") is not None and self._first(node).blind

    def versions_shown(self, node: Mapping[str, Any], held: Row) -> int | None:
        """How many versions the aliases `v<N>` say there are; None where they do not say it."""
        page = node.get("aliases")
        if page is not None:
            listed = self._first(node)
            return listed.versions if listed.versions and not page_of(page).has_next else None
        total = counted(node)
        return None if total is None or not self.question.versions else total - len(held["holders"])

    def check(self, node: Mapping[str, Any], *, walked: bool) -> None:
        """Write who has which alias, where another has it than is held; `walked`: all were just read."""
        held = self.task.held([node]).get(node["id"])
        if held is None or self.are_blind(node):
            return
        if node.get("aliases") is not None:
            listed, more = self._first(node), page_of(node["aliases"]).has_next
            if not more:
                self._judge(node, listed, at_once=True)
                self._move(node["id"], listed, held)
            elif walked:
                self.long = node
            else:
                self._list(node["id"], held, node)
        elif self._moved(node, held):
            self._list(node["id"], held, node)
        else:
            self._note_rare(node["id"], held)

    def finish(self) -> None:
        """Ask for the aliases that no pulse asked for; keep what was learned of the server."""
        moved = set()
        for some in chunks(self.rare, RARE_A_REQUEST):
            found = self.task.members_by_alias([(where, alias) for where, alias, _ in some])
            for (where, _, holder), member in zip(some, found, strict=True):
                if ((member or {}).get("artifact") or {}).get("id") != holder:
                    moved.add(where)
            self.task.keep_going()
        for where in sorted(moved):
            self._list(where, self.task.held([{"id": where}])[where], None)
        if self.question.mode == "unknown" and self.long and not self.proven + self.disproven:
            held = self.task.held([self.long]).get(self.long["id"])
            if held is not None:
                self._list(self.long["id"], held, self.long)
        self._learn()

    # -------------------------------------------------------------- what is shown

    def _first(self, node: Mapping[str, Any]) -> _Listed:
        listed = _Listed()
        listed.add(page_of(node.get("aliases")))
        return listed

    def _moved(self, node: Mapping[str, Any], held: Row) -> bool:
        """Whether the number of aliases, or who has one, is not as held."""
        total, holders = counted(node), held["holders"]
        expected = (
            len(holders) + held["live"] * self.question.versions + self._explained(node["id"])
        )
        named = self.question.named(node)
        return total != expected or any(holders.get(name) != who for name, who in named.items())

    def _note_rare(self, identifier: str, held: Row) -> None:
        names = self.question.names
        rare = [
            (identifier, name, who) for name, who in held["holders"].items() if name not in names
        ]
        if len(rare) > RARE_A_COLLECTION:
            self._list(identifier, held, None)
        else:
            self.rare += rare

    # -------------------------------------------------------------- listing

    def _list(self, identifier: str, held: Row, node: Mapping[str, Any] | None) -> None:
        """List all aliases of a collection, and write who has them."""
        listed = _Listed()

        def fetch(after: str | None) -> Page:
            data = self.task.ask(
                "MirrorCollectionAliases", id=identifier, first=LIGHT_PAGE, after=after
            )
            return page_of((data.get("artifactCollection") or {}).get("aliases"))

        for page in self.task.pages(fetch, f"the aliases of collection {identifier}"):
            listed.add(page)
            self.task.keep_going()
        if listed.blind:
            return
        if node is not None:
            self._judge(node, listed, at_once=False)
        self._move(identifier, listed, held)

    def _move(self, identifier: str, listed: _Listed, held: Row) -> None:
        if listed.holders != held["holders"]:
            with self.task.begin() as tx:
                moved = door.move_aliases(tx, identifier, listed.holders, synced_at=self.task.at())
            self.task.report.collections += moved > 0
            held = self.task.held([{"id": identifier}])[identifier]
        if self.question.mode == "counted":
            expected = len(held["holders"]) + held["live"] * self.question.versions
            self._explain(identifier, listed.total - expected)

    def _explained(self, identifier: str) -> int:
        known: Mapping[str, int] = self.task.state["details"].get("alias_differences") or {}
        return known.get(identifier, 0)

    def _explain(self, identifier: str, difference: int) -> None:
        """Keep by how many a complete listing differs from what is held, so as to expect it."""
        if difference == self._explained(identifier):
            return
        details = self.task.state["details"]
        known = {**(details.get("alias_differences") or {}), identifier: difference}
        known = {key: value for key, value in known.items() if value}
        self.task.save(details={**details, "alias_differences": known})

    # -------------------------------------------------------------- learning

    def _judge(self, node: Mapping[str, Any], listed: _Listed, *, at_once: bool) -> None:
        """Hold the number that the last cursor tells against a complete listing.

        A number that is wrong in one and the same answer proves that cursors do not count; one that
        was told before the listing may be old.
        """
        if self.question.mode != "unknown" or listed.total < 2:
            return
        total = counted(node)
        if total == listed.total:
            self.proven += 1
            self.with_versions |= listed.versions > 0
        elif at_once or total is None:
            self.disproven += 1

    def _learn(self) -> None:
        """Keep whether aliases can be counted, once complete listings have told."""
        mode = "listed" if self.disproven else "counted" if self.proven else None
        if self.question.mode != "unknown" or mode is None:
            return
        with self.task.begin() as tx:
            self.question.learned(tx, self.task.client.base_url, mode, versions=self.with_versions)
