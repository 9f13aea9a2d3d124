"""A real process that syncs, and that can be told to kill itself after its n-th page.

python child.py BASE_URL STORE CONFIG PAGE: SIGKILL after the PAGE-th stored page; 0: never.
Prints the report as JSON. The key comes from the environment, as for a user.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys

from mirror.sync import Event, sync


def main() -> int:
    base_url, store, config, page = sys.argv[1:]
    pages = itertools.count(1)

    def on_event(event: Event) -> None:
        if event.kind == "page" and next(pages) == int(page):
            os.kill(os.getpid(), signal.SIGKILL)

    report = sync(["team/vision"], base_url=base_url, store=store, config=config, on_event=on_event)
    print(json.dumps(report.to_dict()))
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
