"""The runs a listing has loaded: the last ones themselves, of the others what finds them again.

A loop over 200,000 runs must not hold 200,000 runs. The last KEEP are held; of older ones those that
somebody else still holds are the same objects, the rest is read again when it is asked for. A change
made by hand to a run that nobody holds is lost with it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from mirror.api.runs import Run

__all__ = ["KEEP", "Kept"]

KEEP = 1000
BLOCK = 250


class Kept(Sequence["Run"]):
    """A sequence of runs of bounded size in memory; `read(keys)` makes runs from keys of the store."""

    def __init__(self, runs: Iterable[Run], read: Callable[[Sequence[int]], list[Run]]) -> None:
        self._read = read
        self._keys = array("q")
        self._start()
        self.extend(runs)

    def _start(self) -> None:
        self._held: dict[int, Run] = {}
        self._alive: WeakValueDictionary[int, Run] = WeakValueDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {"_read": self._read, "_keys": self._keys}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def extend(self, runs: Iterable[Run]) -> None:
        """Add runs of the store at the end."""
        for run in runs:
            self._hold(len(self._keys), run)
            self._keys.append(run.run_key)

    def _hold(self, place: int, run: Run) -> None:
        self._held[place] = run
        self._alive[place] = run
        if len(self._held) > KEEP:
            del self._held[next(iter(self._held))]

    def in_memory(self) -> list[Run]:
        """Return the runs that are held here or by somebody else."""
        return list(self._alive.values())

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Run]:
        for place in range(len(self)):
            yield self[place]

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        if isinstance(index, slice):
            return [self._at(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError("list index out of range")
        return self._at(place)

    def _at(self, place: int) -> Run:
        run = self._alive.get(place)
        if run is not None:
            return run
        stop = min(place + BLOCK, len(self._keys))
        missing = [at for at in range(place, stop) if at not in self._alive]
        found = self._read([self._keys[at] for at in missing])
        for at, one in zip(missing, found, strict=True):
            self._hold(at, one)
        return found[0]

    def __repr__(self) -> str:
        return f"<{len(self)} runs, {len(self._held)} of them in memory>"
