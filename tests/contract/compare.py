"""What a script did, as plain values that can be compared: types, order and signs of zero included."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["outcome", "plain", "same"]

Script = Callable[[Any], Any]


def outcome(script: Script, api: Any) -> Any:
    """Return what a script answers, or what it raises, in a form that says all that callers can see.

    Listings kept from other scripts are forgotten first.
    """
    api.flush()
    try:
        return plain(script(api))
    except Exception as error:  # noqa: BLE001 - whatever is raised is the thing compared
        return raised(error)


def same(ours: Any, theirs: Any) -> bool:
    """Whether a script cannot tell two outcomes apart.

    An error of ours has the text of theirs and is caught by whatever catches theirs; it may be more.
    """
    if not (_is_raised(ours) and _is_raised(theirs)):
        return bool(ours == theirs)
    caught = all(set(theirs[i] or ()) <= set(ours[i] or ()) for i in (1, 3))
    return caught and ours[2] == theirs[2]


def _is_raised(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and value[0] == "raised"


def raised(error: BaseException) -> tuple[Any, ...]:
    """The catchable names of an error, its text, and the same of what `.exc` holds."""
    inner = getattr(error, "exc", None)
    return ("raised", catchable(error), str(error), None if inner is None else catchable(inner))


_CAUGHT = (
    "CommError", "AuthenticationError", "UsageError", "UnsupportedError", "RunNotFoundError",
    "WandbApiFailedError", "Error", "ValueError", "KeyError", "IndexError", "TypeError", "AttributeError",
)  # fmt: skip


def catchable(error: BaseException) -> list[str]:
    """Which of the classes that scripts name in `except` catch this error."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return [name for name in _CAUGHT if name in names]


def plain(value: Any) -> Any:
    """Return a value whose equality is equality of everything visible."""
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int | float | str):
        return (type(value).__name__, repr(value))
    if isinstance(value, Mapping):
        return (type(value).__name__, [(plain(key), plain(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return (type(value).__name__, [plain(item) for item in value])
    if isinstance(value, set | frozenset):
        return (type(value).__name__, sorted(map(repr, value)))
    if isinstance(value, datetime.datetime | os.PathLike):
        return (type(value).__name__, str(value))
    if isinstance(value, BaseException):
        return raised(value)
    return _object(value)


def _object(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "DataFrame":
        return (
            kind,
            list(value.columns),
            [str(one) for one in value.dtypes],
            plain(value.values.tolist()),
        )
    if kind in ("HTTPSummary", "SummarySubDict"):
        return (kind, plain(dict(value)))
    if hasattr(value, "_attrs"):
        shown = repr(value)  # an object without a look shows its address
        return (kind, value._attrs.get("id") if " object at 0x" in shown else shown)
    if kind == "dict_keys":
        return plain(list(value))
    return (kind, repr(value))
