"""Pairs of objects, one of each client, and every public member that both must answer alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from filled import HARD

OBJECTS: Final[dict[str, Callable[[Any], Any]]] = {
    "Run": lambda api: api.run(f"{HARD}/wrapped"),
    "Run of a sweep": lambda api: api.run(f"{HARD}/nan"),
    "lazy Run": lambda api: api.runs(HARD)[0],
    "Runs": lambda api: api.runs(HARD),
    "Projects": lambda api: api.projects("team"),
    "Project": lambda api: api.project("hard", "team"),
    "listed Project": lambda api: api.projects("team")[0],
    "Sweep": lambda api: api.sweep(f"{HARD}/swp1"),
    "Sweeps": lambda api: api.project("hard", "team").sweeps(),
    "User": lambda api: api.viewer,
    "User of a run": lambda api: api.run(f"{HARD}/nan").user,
    "Team": lambda api: api.team("team"),
    "Member": lambda api: api.team("team").members[0],
    "Reports": lambda api: api.reports(HARD),
    "BetaReport": lambda api: api.reports(HARD)[0],
    "HTTPSummary": lambda api: api.run(f"{HARD}/order").summary,
    "SummarySubDict": lambda api: api.run(f"{HARD}/order").summary["a"],
}

# Members that are not values of the object: reasons are in docs/differences.md.
NOT_COMPARED: Final = {
    "apiKeys": "never asked for",
    "cursor": "a text of the server's, opaque",
    "dir": "a folder of its own",
    "last_response": "the raw answer of the last request",
    "variables": "what was sent",
    "QUERY": "the text that is sent",
    "user_api": "an Api of the real client",
    "metadata": "needs the server once",
    "query_generator": "an object without a look",
    "server_provides_internal_id_field": "a leftover, always None",
}


def members_of(value: Any) -> list[str]:
    """The public names of an object of the real client."""
    kind = type(value).__name__
    if kind in ("HTTPSummary", "SummarySubDict"):
        return [name for name in dir(type(value)) if not name.startswith("_")]
    names = {*dir(type(value)), *vars(value), *vars(value).get("_attrs", {})}
    return sorted(name for name in names if not name.startswith("_") and name not in NOT_COMPARED)
