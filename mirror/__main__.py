"""`mirror` and `python -m mirror`: the command line, which Ctrl-C ends without a traceback from the start."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where a script has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mirror.cli import cli  # takes a tenth of a second

    signal.signal(signal.SIGINT, before)
    cli(prog_name="mirror")


if __name__ == "__main__":
    main()
