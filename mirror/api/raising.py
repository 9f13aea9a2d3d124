"""The edge where errors take the shape that callers of `wandb.Api` catch.

Where wandb is loaded (never imported here), what is raised is an instance of our class and of wandb's
at once, so that `except wandb.errors.CommError` keeps working; elsewhere it is ours alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from mirror.errors import (
    AuthenticationError,
    CommError,
    MirrorError,
    QueryError,
    RemoteError,
    RunNotFoundError,
    UnsupportedError,
    UsageError,
)

__all__ = ["adapt", "edge", "normalized"]

P = ParamSpec("P")
T = TypeVar("T")

_ERRORS = "wandb.errors.errors"
_FAILED = ("wandb.sdk.lib.service.service_connection", "WandbApiFailedError")

# Our class → the wandb classes (module, name) an instance also is. The first row that fits counts.
_THEIRS: tuple[tuple[type[MirrorError], tuple[tuple[str, str], ...]], ...] = (
    (AuthenticationError, ((_ERRORS, "AuthenticationError"),)),
    (CommError, ((_ERRORS, "CommError"),)),
    (UnsupportedError, ((_ERRORS, "UnsupportedError"),)),
    (UsageError, ((_ERRORS, "UsageError"),)),
    (RunNotFoundError, (("wandb.apis.public.runs", "RunNotFoundError"),)),
    # A failed request is WandbApiFailedError in some members of wandb.Api and CommError in others.
    (RemoteError, (_FAILED, (_ERRORS, "CommError"))),
    (QueryError, (_FAILED, (_ERRORS, "CommError"))),
    (MirrorError, ((_ERRORS, "CommError"),)),
)


def adapt(error: MirrorError) -> MirrorError:
    """Return the error as an instance of wandb's class too, where that class is loaded."""
    if getattr(type(error), "is_adapted", False):
        return error
    kind = _kind(type(error), _loaded(type(error)))
    if kind is type(error):
        return error
    adapted = _make(type(error), error.args, error.__dict__, kind)
    adapted.__traceback__ = error.__traceback__
    adapted.__cause__ = error.__cause__
    adapted.__suppress_context__ = error.__suppress_context__
    return adapted


def edge(function: Callable[P, T]) -> Callable[P, T]:
    """Adapt the errors of mirror that leave a function."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except MirrorError as error:
            adapted = adapt(error)
            if adapted is error:
                raise
            raise adapted from error.__cause__

    return wrapper


def normalized(function: Callable[P, T]) -> Callable[P, T]:
    """Raise CommError for whatever a member raises, as the members of `wandb.Api` do that say so.

    The cause is in `exc`. Errors of mirror keep their class: where wandb is loaded they are a
    CommError of wandb anyway, and "not mirrored" must stay apart from "not found".
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except RunNotFoundError as error:
            raise adapt(CommError(str(error), error)) from error
        except MirrorError as error:
            adapted = adapt(error)
            if adapted is error:
                raise
            raise adapted from error.__cause__
        except Exception as error:
            if _is_wandb_error(error):
                raise
            found = adapt(CommError(str(error), error))
            for note in getattr(error, "__notes__", ()):
                found.add_note(note)
            raise found from error

    return wrapper


def _is_wandb_error(error: Exception) -> bool:
    module = sys.modules.get(_ERRORS)
    return module is not None and isinstance(error, module.Error)


def _loaded(ours: type[MirrorError]) -> tuple[type[Exception], ...]:
    places = next(places for kind, places in _THEIRS if issubclass(ours, kind))
    found = (getattr(sys.modules.get(module), name, None) for module, name in places)
    return tuple(kind for kind in found if isinstance(kind, type))


_KINDS: dict[tuple[type[MirrorError], tuple[type[Exception], ...]], type[MirrorError]] = {}


def _kind(ours: type[MirrorError], theirs: tuple[type[Exception], ...]) -> type[MirrorError]:
    """The class that is ours and theirs; the same one each time."""
    if not theirs:
        return ours
    if (ours, theirs) not in _KINDS:
        _KINDS[ours, theirs] = _joined(ours, theirs)
    return _KINDS[ours, theirs]


def _joined(ours: type[MirrorError], theirs: tuple[type[Exception], ...]) -> type[MirrorError]:
    members = {
        "__module__": ours.__module__,
        "__qualname__": ours.__qualname__,
        "__doc__": ours.__doc__,
        "__str__": ours.__str__,
        "__reduce__": lambda self: (_revive, (ours, self.args, self.__dict__)),
        "is_adapted": True,
    }
    return type(ours.__name__, (ours, *theirs), members)


def _make(
    ours: type[MirrorError], args: tuple[Any, ...], facts: dict[str, Any], kind: type[MirrorError]
) -> MirrorError:
    error = kind.__new__(kind, *args)
    error.args = args
    # What wandb's constructors would have set.
    error.__dict__.update(message=str(args[0]) if args else "", context={}, exc=None, response=None)
    error.__dict__.update(facts)
    if error.__dict__["exc"] is None and not issubclass(ours, CommError):
        del error.__dict__["exc"]
    return error


def _revive(ours: type[MirrorError], args: tuple[Any, ...], facts: dict[str, Any]) -> MirrorError:
    return _make(ours, args, facts, _kind(ours, _loaded(ours)))
