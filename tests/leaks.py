"""No test of the suite may leave an API key in a row, a file, a log, an output or an error of ours.

Every test is watched, whatever it is about: the text of each MirrorError made, each log record, what
it printed, and each file it left in its folder (the SQLite stores among them). PostgreSQL's rows are
written by the same code; tests/sync reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import MirrorError

KEYS = ("0123456789abcdef" * 3, "c0ffee1234" * 4, "a1b2c3d4e5" * 4, "5ec12e7f" * 5, "5ecre7" * 7,
        "a-secret-key-that-nobody-may-see".ljust(40, "7"))  # fmt: skip
"""The keys that tests use."""
GIVEN = (".toml", ".netrc", "netrc", ".py", "settings")
"""Files in which tests hand a key to the program."""
LARGEST = 64 * 2**20


def key_in(text: str | bytes) -> bool:
    """Whether one of the keys is in it."""
    if isinstance(text, bytes):
        return any(key.encode() in text for key in KEYS)
    return any(key in text for key in KEYS)


class Watch(logging.Handler):
    """What was seen with a key in it since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if key_in(record.getMessage()):
            self.seen.append(f"a log record of {record.name}")

    def made(self, error: MirrorError, given: tuple[Any, ...]) -> None:
        if any(isinstance(each, str) and key_in(each) for each in given):
            self.seen.append(f"the text of a {type(error).__name__}")

    def take(self, item: pytest.Item, report: pytest.TestReport) -> list[str]:
        """Return what is wrong with a test that has ended, and forget it."""
        found, self.seen = self.seen, []
        found += [f"its {name}" for name, text in report.sections if key_in(text)]
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        return found + [f"the file {path.name}" for path in _with_key(folder)]


def _with_key(folder: Path | None) -> Iterator[Path]:
    for path in folder.rglob("*") if folder is not None and folder.is_dir() else ():
        if path.is_symlink() or not path.is_file() or path.name.endswith(GIVEN):
            continue
        try:
            if path.stat().st_size <= LARGEST and key_in(path.read_bytes()):
                yield path
        except OSError:
            continue  # made unreadable by the test, or gone


watch = Watch()


@pytest.fixture(autouse=True, scope="session")
def _watched() -> Iterator[None]:
    def init(self: MirrorError, *arguments: Any, **named: Any) -> None:
        watch.made(self, arguments)
        super(MirrorError, self).__init__(*arguments, **named)

    # An observer, not a double: the error is made as ever.
    MirrorError.__init__ = init  # type: ignore[method-assign]
    logging.getLogger().addHandler(watch)
    yield
    logging.getLogger().removeHandler(watch)
    del MirrorError.__init__


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail a test that left a key somewhere, at its end."""
    report: Any = yield
    quoted = item.get_closest_marker("quotes_the_key") is not None
    if (
        report.when == "teardown"
        and (found := watch.take(item, report))
        and report.passed
        and not quoted
    ):
        report.outcome = "failed"
        report.longrepr = f"an API key is in {', '.join(found)}"
    return report  # type: ignore[return-value]
