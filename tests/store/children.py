"""Actions in a process of their own, with other rights or limits than the tests have."""

from __future__ import annotations

import os
from collections.abc import Callable

from mirror.errors import MirrorError


def in_child(action: Callable[[], object], prepare: Callable[[], object]) -> str:
    """Run `prepare` and `action` in a forked process; return the text of the MirrorError raised."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            action()
            os.write(writer, b"nothing was raised")
        except MirrorError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as text:
        said = text.read()
    os.waitpid(pid, 0)
    return said
