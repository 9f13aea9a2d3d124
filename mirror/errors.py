"""Every error mirror raises on purpose, in one tree.

    MirrorError
    ├─ ConfigError                       mirror.toml, environment or an argument is wrong
    ├─ PathError                         "entity/project/run" cannot be read          (ValueError)
    ├─ RemoteError                       the W&B server, or the way to it
    │  ├─ Unreachable                    no answer at all
    │  ├─ Unauthorized                   no key, a refused key
    │  ├─ Forbidden                      the key may not do this
    │  ├─ NotFound                       the server knows no such thing
    │  ├─ RateLimited                    429, and patience ran out
    │  ├─ ServerFailed                   5xx or an unreadable answer, after all tries
    │  │  └─ TooLarge                    the server refuses so much at once
    │  ├─ GraphQLError                   the server refused the operation
    │  └─ StuckCursor                    a listing that does not move
    ├─ QueryError                        a filter or order string is wrong            (ValueError)
    ├─ NotMirrored                       the store does not hold what was asked       (LookupError)
    │  ├─ Gone                           any more: it was deleted on the server
    │  └─ StaleError                     it does, but older than max_age
    ├─ OfflineError                      a write or a fetch, asked in offline mode
    ├─ UsageError                        a member of `mirror.Api` used in a way it is not made for
    │  └─ UnsupportedError               a member that mirror does not offer yet, or the server lacks
    ├─ CommError                         what `wandb.Api` raises as its CommError; `.exc` is the cause
    │  └─ AuthenticationError            the key was refused when somebody asked with it
    ├─ RunNotFoundError                  the project has no such run                 (ValueError)
    ├─ ContentError                      contents of files: their bytes, names or place
    │  ├─ DigestMismatch                 bytes that are not those of the digest
    │  ├─ UnsafeName                     a name that leads out of the folder         (ValueError)
    │  └─ NoRoom                         the disk has no room for them
    └─ StoreError                       the database
       ├─ SchemaOutdated                 older or newer than this version
       └─ StoreBusy                      another process holds the lease or the lock

Facts are attributes; the text is made in `__init__` and says what was asked, what was found and
what to do. All of them pickle. What `mirror.Api` raises is also an error of wandb where wandb is
loaded (`mirror.api.raising`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = [
    "AuthenticationError",
    "CommError",
    "ConfigError",
    "ContentError",
    "DigestMismatch",
    "Forbidden",
    "Gone",
    "GraphQLError",
    "MirrorError",
    "NoRoom",
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
    "TooLarge",
    "Unauthorized",
    "Unreachable",
    "UnsafeName",
    "UnsupportedError",
    "UsageError",
]


class MirrorError(Exception):
    """Anything mirror raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The constructors make the text from facts; what is pickled is the text and the facts.
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[MirrorError], args: tuple[Any, ...], facts: dict[str, Any]) -> MirrorError:
    """Make an error again from what it was pickled as."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class ConfigError(MirrorError):
    """A setting is missing, unknown or has a bad value; `where` names file and line, variable or argument."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class PathError(MirrorError, ValueError):
    """A path such as `entity/project/run` cannot be read."""


class RemoteError(MirrorError):
    """The W&B server did not give an answer that can be used; `fields` says where, if it said so."""

    def __init__(
        self, message: str, *, operation: str | None = None, status: int | None = None
    ) -> None:
        self.operation = operation
        self.status = status
        self.fields: frozenset[str] = frozenset()
        super().__init__(message)


class Unreachable(RemoteError):
    """No answer came back: name, network, TLS or time-out."""


class Unauthorized(RemoteError):
    """There is no API key, or the server refused it."""


class Forbidden(RemoteError):
    """The server knows the key and does not let it do this."""


class NotFound(RemoteError):
    """The server has no such entity, project, run or other object, or does not show it to this key."""


class RateLimited(RemoteError):
    """The server kept answering 429 until the tries or the time were used up."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, operation: str | None = None
    ) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message, operation=operation, status=429)


class ServerFailed(RemoteError):
    """The server failed (5xx, dropped connection, unreadable body) on every try."""


class TooLarge(ServerFailed):
    """The server refuses to take or give so much at once: ask for less; `most` if it said how much."""

    most: int | None = None


_UNKNOWN_TO_SERVER = re.compile(r"Cannot query field|Unknown (argument|type|fragment)", re.I)


class GraphQLError(RemoteError):
    """The server refused the operation; `errors` holds its messages."""

    def __init__(
        self,
        operation: str,
        errors: Sequence[str],
        *,
        status: int | None = None,
    ) -> None:
        self.errors = list(errors)
        text = "; ".join(self.errors) or "no message"
        super().__init__(
            f"{operation}: the server answered: {text}", operation=operation, status=status
        )

    @property
    def is_validation(self) -> bool:
        """Whether the server does not know a field, argument or type asked for: it is older than mirror."""
        return any(_UNKNOWN_TO_SERVER.search(message) for message in self.errors)


class StuckCursor(RemoteError):
    """A listing said there is more and gave the same cursor again."""


class QueryError(MirrorError, ValueError):
    """A filter or an order string is malformed or uses something unsupported.

    `path` is the place, such as `$and[1].config.lr.$in`; `problem` what is wrong there;
    `hint` what to write instead, or None.
    """

    def __init__(self, path: str, problem: str, hint: str | None = None) -> None:
        self.path = path
        self.problem = problem
        self.hint = hint
        text = f"{path}: {problem}" if path else problem
        super().__init__(f"{text}; {hint}" if hint else text)


class NotMirrored(MirrorError, LookupError):
    """The store does not hold what was asked; whether the server has it is not known."""

    def __init__(
        self,
        what: str,
        *,
        path: str | None = None,
        synced_at: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.path = path
        self.synced_at = synced_at
        when = f"last synced {synced_at}" if synced_at else "never synced"
        do = remedy or (f"run `mirror sync {path}`" if path else "run `mirror sync`")
        super().__init__(f"{what} is not in the mirror ({when}): {do}")

    def __str__(self) -> str:  # LookupError's subclasses may quote; keep the sentence
        return str(self.args[0])


class Gone(NotMirrored):
    """It was deleted on the server, as a sync found at `deleted_at`."""

    def __init__(
        self,
        what: str,
        *,
        deleted_at: str,
        path: str | None = None,
        synced_at: str | None = None,
        remedy: str,
    ) -> None:
        super().__init__(what, path=path, synced_at=synced_at, remedy=remedy)
        self.deleted_at = deleted_at
        self.args = (f"{what} was deleted on the server, as the sync of {deleted_at} found: {remedy}",)  # fmt: skip


class StaleError(NotMirrored):
    """The mirror's answer is older than `max_age` allows, and the mode is offline."""


class OfflineError(MirrorError):
    """Something that needs the server was asked in offline mode; nothing was sent."""


class UsageError(MirrorError):
    """A member of `mirror.Api` was used in a way it is not made for."""

    def __init__(self, message: str, context: dict[str, Any] | None = None) -> None:
        self.message = message
        self.context = context or {}
        super().__init__(message)


class UnsupportedError(UsageError):
    """The member is not offered by this version of mirror, or not by the server."""


class CommError(MirrorError):
    """A read of `mirror.Api` failed the way `wandb.Api` fails; `exc` is what happened underneath."""

    def __init__(self, msg: str, exc: Exception | None = None) -> None:
        self.message = msg
        self.exc = exc
        self.context: dict[str, Any] = {}
        super().__init__(msg)


class AuthenticationError(CommError):
    """The server does not accept the API key that was used."""


class RunNotFoundError(MirrorError, ValueError):
    """The project has no run of that name."""


class ContentError(MirrorError):
    """The contents of a file cannot be fetched, kept or put where they were wanted."""


class DigestMismatch(ContentError):
    """The bytes that came are not those that the digest names; they were thrown away."""

    def __init__(self, what: str, *, expected: str, found: str) -> None:
        self.what = what
        self.expected = expected
        self.found = found
        super().__init__(
            f"{what}: what came is {found}, {expected} was expected; nothing was kept: try again, and "
            "if it stays so, the file is damaged on the server"
        )


class UnsafeName(ContentError, ValueError):
    """A name from the server names no file below the folder, or none that can be told apart there."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        shown = name if len(name) <= 100 else f"{name[:97]}..."
        super().__init__(f"{shown!r} cannot be a file of the download folder: {problem}")


class NoRoom(ContentError):
    """The disk is full, or a file may not become so large; what was written of it was removed."""


class StoreError(MirrorError):
    """The database cannot be opened, read or written."""


class SchemaOutdated(StoreError):
    """The store's revision is not the one this version works with."""

    def __init__(self, found: str | None, expected: str, *, newer: bool = False) -> None:
        self.found = found
        self.expected = expected
        self.newer = newer
        remedy = (
            "it was written by a newer mirror: upgrade this installation"
            if newer
            else "run `mirror db upgrade`"
        )
        super().__init__(
            f"the store is at revision {found or 'none'}, this version works with {expected}: {remedy}"
        )


class StoreBusy(StoreError):
    """Another process holds the sync lease or the database lock; `holder` and `since` say who, since when."""

    def __init__(
        self, message: str, *, holder: str | None = None, since: str | None = None
    ) -> None:
        self.holder = holder
        self.since = since
        super().__init__(message)
