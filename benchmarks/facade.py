"""`mirror.Api` against `wandb.Api` itself: the same loops, ratios from one run.

    python benchmarks/facade.py             every comparison, with its bar
    python benchmarks/facade.py memory [N]  peak memory of a loop over N runs (default 200,000)

The real client asks a sandbox on loopback with no added latency, so a real server's network and load
only widen the ratios. Each side runs in a process of its own; the best of ROUNDS counts.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "benchmark0" * 4
BIG, SMALL = "team/big", "team/small"
ROUNDS = 3

# what is compared → the least ratio wanted
BARS = {
    "list 2,000 runs, lazy": 20,
    "list 2,000 runs, full": 20,
    "export loop over 200 runs": 300,
    "count with a filter": 20,
    "top 10 by a metric": 20,
    "Api() in a fresh process": 5,
}


# ------------------------------------------------------------------ the loops, alike on both sides


def list_lazily(api: Any) -> int:
    return len([{"name": r.name, **r.config, **dict(r.summary)} for r in api.runs(BIG)])


def list_fully(api: Any) -> int:
    runs = api.runs(BIG, lazy=False)
    return len([{"name": r.name, **r.config, **dict(r.summary)} for r in runs])


def export_loop(api: Any) -> int:
    """The loop of W&B's documentation that exports a project's runs."""
    summaries, configs, names = [], [], []
    for run in api.runs(SMALL):
        summaries.append(run.summary._json_dict)
        configs.append({k: v for k, v in run.config.items() if not k.startswith("_")})
        names.append(run.name)
    return len(names)


def count(api: Any) -> int:
    return len(api.runs(BIG, {"config.model.type": "vit", "summary_metrics.loss": {"$lt": 0.3}}))


def top(api: Any) -> int:
    return len([(r.name, r.id) for r in api.runs(BIG, order="-summary_metrics.val/acc")[:10]])


LOOPS: dict[str, Callable[[Any], int]] = {
    "list 2,000 runs, lazy": list_lazily,
    "list 2,000 runs, full": list_fully,
    "export loop over 200 runs": export_loop,
    "count with a filter": count,
    "top 10 by a metric": top,
}


def measure(api: Any, rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of each loop, the best of some rounds; each round asks anew."""
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, loop in LOOPS.items():
            api.flush()
            start = time.perf_counter()
            found = loop(api)
            elapsed = time.perf_counter() - start
            assert found, name
            best[name] = min(elapsed, best.get(name, elapsed))
    return best


# ------------------------------------------------------------------ one side each, in its own process


def side_wandb(url: str, _store: str) -> dict[str, float]:
    import wandb

    return measure(wandb.Api({"base_url": url}, timeout=300, api_key=KEY))


def side_mirror(_url: str, store: str) -> dict[str, float]:
    import mirror

    return measure(mirror.Api(store=store, mode="offline"))


def side_first_wandb(url: str, _store: str) -> dict[str, float]:
    """A fresh process: import, construction, first answer."""
    start = time.perf_counter()
    import wandb

    imported = time.perf_counter()
    api = wandb.Api({"base_url": url}, api_key=KEY)
    made = time.perf_counter()
    api.runs(SMALL)[0].config  # noqa: B018
    return _phases(start, imported, made)


def side_first_mirror(_url: str, store: str) -> dict[str, float]:
    """The same of ours."""
    start = time.perf_counter()
    import mirror

    imported = time.perf_counter()
    api = mirror.Api(store=store, mode="offline")
    made = time.perf_counter()
    api.runs(SMALL)[0].config  # noqa: B018
    return _phases(start, imported, made)


def _phases(start: float, imported: float, made: float) -> dict[str, float]:
    end = time.perf_counter()
    return {
        "import": imported - start,
        "Api() in a fresh process": made - start,
        "first answer": end - start,
    }


def side_memory(_url: str, store: str) -> dict[str, float]:
    """Peak memory after the first 1,000 runs, and after all of them."""
    import mirror

    seen, early = 0, 0.0
    for run in mirror.Api(store=store, mode="offline").runs(BIG):
        seen += 1
        assert run.config is not None
        if seen == 1000:
            early = _peak_mb()
    return {"runs": seen, "after 1,000 (MB)": early, "after all (MB)": _peak_mb()}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


SIDES = {name: made for name, made in globals().items() if name.startswith("side_")}


def child(side: str, url: str, store: str, home: str) -> dict[str, float]:
    """Run one side in a fresh process and return what it measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    settings = {"HOME": home, "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        [sys.executable, __file__, side, url, store],
        env={**kept, **settings},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# ------------------------------------------------------------------ the world


def serve(big: str, small: str) -> None:
    """Serve a world with two projects until killed; the first line says where."""
    from mirror.sandbox import Server, World, generate

    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    generate(world, BIG, runs=int(big), seed=7)
    generate(world, SMALL, runs=int(small), seed=8)
    server = Server(world)
    print(server.url, flush=True)
    server.run_forever()


@contextmanager
def world(big: int, small: int) -> Any:
    """A sandbox in a process of its own, and a store synced from it."""
    from mirror.config import resolve
    from mirror.sync import sync

    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, __file__, "serve", str(big), str(small)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            store = f"sqlite:///{Path(folder) / 'mirror.db'}"
            config = resolve(store=store, base_url=url, api_key=KEY, environ={}, cwd=folder)
            report = sync([BIG, SMALL], config=config)
            assert report.ok, report.failures
            yield url, store, folder
        finally:
            process.terminate()
            process.wait()


def compare() -> None:
    """Print each comparison with its bar."""
    with world(2000, 200) as (url, store, home):
        for first in ("side_first_wandb", "side_first_mirror"):
            child(first, url, store, home)  # byte code is compiled, files are in memory
        theirs = child("side_wandb", url, store, home) | best_of(
            "side_first_wandb", url, store, home
        )
        ours = child("side_mirror", url, store, home) | best_of(
            "side_first_mirror", url, store, home
        )
    print(f"{'':<28} {'wandb':>10} {'mirror':>10} {'ratio':>9}   bar")
    for name in [*BARS, "import", "first answer"]:
        ratio = theirs[name] / ours[name]
        bar = BARS.get(name)
        verdict = "" if bar is None else f"{bar:>4}x {'ok' if ratio >= bar else 'MISSED'}"
        print(
            f"{name:<28} {theirs[name] * 1e3:>7.1f} ms {ours[name] * 1e3:>7.1f} ms {ratio:>8.1f}x  {verdict}"
        )


def best_of(side: str, url: str, store: str, home: str) -> dict[str, float]:
    rounds = [child(side, url, store, home) for _ in range(ROUNDS)]
    return {name: min(one[name] for one in rounds) for name in rounds[0]}


def memory(runs: int) -> None:
    """Print the peak memory of a loop over many runs."""
    with world(runs, 1) as (url, store, home):
        for name, value in child("side_memory", url, store, home).items():
            print(f"{name:<20} {value:>12,.0f}")


def main() -> None:
    words = sys.argv[1:]
    if words and words[0] in SIDES:
        print(json.dumps(SIDES[words[0]](*words[1:])))
    elif words and words[0] == "serve":
        serve(*words[1:])
    elif words and words[0] == "memory":
        memory(int(words[1]) if len(words) > 1 else 200_000)
    else:
        compare()


if __name__ == "__main__":
    main()
