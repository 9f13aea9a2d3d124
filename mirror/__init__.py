"""A local caching mirror and offline query engine for Weights & Biases.

    import mirror

    api = mirror.Api()          # instead of wandb.Api()
    for run in api.runs("my-team/vision", {"state": "finished"}):
        print(run.name, run.summary.get("loss"))

Importing this loads nothing but errors; `Api` is loaded when it is first named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.errors import (
    AuthenticationError,
    CommError,
    ConfigError,
    Forbidden,
    GraphQLError,
    MirrorError,
    NotFound,
    NotMirrored,
    OfflineError,
    PathError,
    QueryError,
    RateLimited,
    RemoteError,
    RunNotFoundError,
    SchemaOutdated,
    ServerFailed,
    StaleError,
    StoreBusy,
    StoreError,
    StuckCursor,
    Unauthorized,
    Unreachable,
    UnsupportedError,
    UsageError,
)

if TYPE_CHECKING:
    from mirror.api.api import Api

__version__ = "0.1.0.dev0"

__all__ = [
    "Api",
    "AuthenticationError",
    "CommError",
    "ConfigError",
    "Forbidden",
    "GraphQLError",
    "MirrorError",
    "NotFound",
    "NotMirrored",
    "OfflineError",
    "PathError",
    "QueryError",
    "RateLimited",
    "RemoteError",
    "RunNotFoundError",
    "SchemaOutdated",
    "ServerFailed",
    "StaleError",
    "StoreBusy",
    "StoreError",
    "StuckCursor",
    "Unauthorized",
    "Unreachable",
    "UnsupportedError",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "Api":
        from mirror.api.api import Api

        globals()["Api"] = Api
        return Api
    raise AttributeError(f"module 'mirror' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
