"""`run.summary`: a dict-like view of a run's summary metrics, as the real client offers it.

Its oddities are kept because scripts meet them: keys are stripped of blanks, nested objects come as
SummarySubDict, a missing attribute is a KeyError, there is neither `len` nor iteration over keys.
Values of `_type` numpy.ndarray and the like live in a file of the run and are not read here.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from typing import Any

from mirror.api.notices import complain

__all__ = ["HTTPSummary", "SummarySubDict"]

_TENSORS = frozenset({"numpy.ndarray", "tensorflow.Tensor", "torch.Tensor"})


def _key(key: Any) -> Any:
    return key.strip() if type(key) is str else key


class SummarySubDict:
    """A nested object of a summary. Changes stay local until `update()` writes them."""

    _root: HTTPSummary
    _path: tuple[str, ...]
    _json_dict: dict[str, Any]
    _dict: dict[str, Any]

    def __init__(self, root: Any = None, path: tuple[str, ...] = ()) -> None:
        found: Any = {} if root is None else root._json_dict
        for key in path:
            found = found.get(key, {})
        # Directly, past __setattr__: one is made for each nested object of a long loop.
        self.__dict__.update(
            _path=tuple(path), _root=self if root is None else root, _json_dict=found, _dict={}
        )

    def __setattr__(self, k: str, v: Any) -> None:
        k = k.strip()
        if k.startswith("_"):
            object.__setattr__(self, k, v)
        else:
            self[k] = v

    def __getattr__(self, k: str) -> Any:
        k = k.strip()
        if k.startswith("_"):
            raise AttributeError(k)
        return self[k]

    def keys(self) -> KeysView[str]:
        """Return the names of all metrics, a view."""
        return self._json_dict.keys()

    def get(self, k: Any, default: Any = None) -> Any:
        """Return the metric's value, or `default` where there is none."""
        try:
            return self[k]
        except KeyError:
            return default

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield (name, value) of all metrics."""
        for key in self.keys():
            yield key, self[key]

    def __getitem__(self, k: Any) -> Any:
        if type(k) is str:
            k = k.strip()
        read = self._dict
        if k in read:
            return read[k]
        value = self._json_dict[k]
        if type(value) is dict:
            value = self._nested(k, value)
        read[k] = value  # what was read first is shown first
        return value

    def _nested(self, key: str, value: dict[str, Any]) -> Any:
        kind = value.get("_type")
        if kind in _TENSORS:
            complain(f"{key!r} is a tensor kept in the run's file wandb.h5, which is not read here")
            return None
        if kind == "data-frame":
            complain(f"{key!r} is a data frame that W&B's API saved; it cannot be read back")
            return None
        return SummarySubDict(self._root, (*self._path, key))

    def __contains__(self, k: Any) -> bool:
        return _key(k) in self._json_dict

    def __setitem__(self, k: Any, v: Any) -> None:
        k = _key(k)
        if isinstance(v, dict):
            self._json_dict[k] = {}
            nested = self._dict[k] = SummarySubDict(self._root, (*self._path, k))
            nested._take(v)
        else:
            self._dict[k] = v
            self._json_dict[k] = _plain(v)

    def __delitem__(self, k: Any) -> None:
        k = _key(k)
        self._dict.pop(k, None)
        del self._json_dict[k]

    def __repr__(self) -> str:
        shown = dict(self._dict)
        for key, value in self._json_dict.items():
            unread = key not in shown and type(value) is dict and value.get("_type") in _TENSORS
            shown[key] = "..." if unread else self[key]
        return repr(shown)

    def _take(self, values: Mapping[str, Any], overwrite: bool = True) -> None:
        for key, value in values.items():
            if overwrite or key.strip() not in self._json_dict:
                self[key] = value

    def update(self, key_vals: Mapping[str, Any] | None = None, overwrite: bool = True) -> None:
        """Refused: writes a summary to the server. Raises UnsupportedError, offline OfflineError.

        Nothing is changed locally either.
        """
        self._root._write(commit=True)


class HTTPSummary(SummarySubDict):
    """The summary of a run, from the text the server sent."""

    def __init__(self, run: Any, service_api: Any, summary: dict[str, Any] | None = None) -> None:
        # Directly: one is made for each run of a long loop.
        self.__dict__.update(
            _path=(),
            _root=self,
            _json_dict={} if summary is None else summary,
            _dict={},
            _run=run,
            _service_api=service_api,
        )

    def __delitem__(self, key: Any) -> None:
        if key not in self._json_dict:
            raise KeyError(key)
        self._dict.pop(key, None)
        del self._json_dict[key]

    def load(self) -> None:
        """Do nothing; the real client's does nothing either."""

    def open_h5(self) -> None:
        """Refused: tensors in `wandb.h5` are not read. Raises UnsupportedError."""
        self._service_api.refuse("summary.open_h5", "tensors kept in wandb.h5 are not read")

    def read_h5(self, path: Any, val: Any = None) -> None:
        """Refused, as `open_h5`."""
        self.open_h5()

    def write_h5(self, path: Any, val: Any) -> None:
        """Refused, as `open_h5`."""
        self.open_h5()

    def _write(self, commit: bool = False) -> bool:
        if commit:
            self._service_api.refuse_write("run.summary.update")
        return False


def _plain(value: Any) -> Any:
    """A value as JSON holds it: numpy's and torch's scalars and arrays become Python's."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for name in ("tolist", "item"):
        method = getattr(value, name, None)
        if method is not None:
            return method()
    return value
