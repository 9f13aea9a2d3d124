"""`mirror.Api` against `wandb.Api` itself: the same loops, ratios from one run.

    python benchmarks/facade.py             every comparison, with its bar
    python benchmarks/facade.py memory [N]  peak memory of loops over N runs (default 200,000)

The real client asks a sandbox on loopback with no added latency, so a real server's network and load
only widen the ratios. Each loop of each side runs in a process of its own: from the import to the end
of its first round is one figure, the best of the later ROUNDS the other. Count and top 10 ask something
new in every round, since both the sandbox and an Api remember answers; the rows "again" ask the same.
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

# what is compared → the least ratio wanted, of the later rounds
BARS = {
    "list 2,000 runs, lazy": 20,
    "list 2,000 runs, full": 20,
    "export loop over 200 runs": 300,
    "count with a filter": 20,
    "top 10 by a metric": 20,
}
API_BAR = 5


# ------------------------------------------------------------------ the loops, alike on both sides


def list_lazily(api: Any, _round: int) -> int:
    return len([{"name": r.name, **r.config, **dict(r.summary)} for r in api.runs(BIG)])


def list_fully(api: Any, _round: int) -> int:
    runs = api.runs(BIG, lazy=False)
    return len([{"name": r.name, **r.config, **dict(r.summary)} for r in runs])


def export_loop(api: Any, _round: int) -> int:
    """The loop of W&B's documentation that exports a project's runs."""
    summaries, configs, names = [], [], []
    for run in api.runs(SMALL):
        summaries.append(run.summary._json_dict)
        configs.append({k: v for k, v in run.config.items() if not k.startswith("_")})
        names.append(run.name)
    return len(names)


def count(api: Any, round: int) -> int:
    loss = {"$lt": 0.3 + round / 100}
    return len(api.runs(BIG, {"config.model.type": "vit", "summary_metrics.loss": loss}))


def top(api: Any, round: int) -> int:
    filters = {"config.batch_size": {"$gte": 8 + round}}
    runs = api.runs(BIG, filters, order="-summary_metrics.val/acc")[:10]
    return len([(r.name, r.id) for r in runs])


LOOPS: dict[str, Callable[[Any, int], int]] = {
    "list 2,000 runs, lazy": list_lazily,
    "list 2,000 runs, full": list_fully,
    "export loop over 200 runs": export_loop,
    "count with a filter": count,
    "top 10 by a metric": top,
    "count again": lambda api, _round: count(api, -1),
    "top 10 again": lambda api, _round: top(api, -1),
    "count, indexed": lambda api, round: count(api, round + 20),
    "top 10, indexed": lambda api, round: top(api, round + 20),
}
INDEXED = ("config.model.type", "summary_metrics.loss", "summary_metrics.val/acc")
"""Keys with a value index (`mirror index add`) in the store of the rows that say so."""


def measure(api: Any, name: str, started: float) -> dict[str, float]:
    """Seconds from `started` to the end of a loop's first round; the best later round, and its CPU."""
    rounds = []
    first = 0.0
    for round in range(1 + ROUNDS):
        api.flush()
        start, busy = time.perf_counter(), time.process_time()
        found = LOOPS[name](api, round)
        rounds.append((time.perf_counter() - start, time.process_time() - busy))
        assert found, name
        first = first or time.perf_counter() - started
    best = min(rounds[1:])
    return {"first": first, "later": best[0], "cpu": best[1]}


# ------------------------------------------------------------------ one side each, in its own process


def side_wandb(url: str, _store: str, name: str) -> dict[str, float]:
    started = time.perf_counter()
    import wandb

    return measure(wandb.Api({"base_url": url}, timeout=300, api_key=KEY), name, started)


def side_mirror(_url: str, store: str, name: str) -> dict[str, float]:
    started = time.perf_counter()
    import mirror

    if name.endswith("indexed"):
        store = f"{store}.indexed"
    return measure(mirror.Api(store=store, mode="offline"), name, started)


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


def side_memory(_url: str, store: str, *, lazy: bool = True) -> dict[str, float]:
    """Peak memory after the first 1,000 runs, and after all of them."""
    import mirror

    seen, early = 0, 0.0
    runs = mirror.Api(store=store, mode="offline").runs(BIG, lazy=lazy, per_page=1000)
    for run in runs:
        seen += 1
        assert run.config is not None
        if seen == 1000:
            early = _peak_mb()
    late = _peak_mb()
    assert len(runs.objects) == seen
    assert runs.objects[0].id == next(iter(runs)).id  # read again: it was let go of
    return {"runs": seen, "after 1,000 (MB)": early, "after all (MB)": late}


def side_memory_full(url: str, store: str) -> dict[str, float]:
    """The same with whole runs, whose documents are all looked at."""
    return side_memory(url, store, lazy=False)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


SIDES = {name: made for name, made in globals().items() if name.startswith("side_")}


def child(side: str, url: str, store: str, home: str, *words: str) -> dict[str, float]:
    """Run one side in a fresh process and return what it measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    settings = {"HOME": home, "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        [sys.executable, __file__, side, url, store, *words],
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
            if big <= 2000:
                _index(store)
            yield url, store, folder
        finally:
            process.terminate()
            process.wait()


def _index(url: str) -> None:
    """Put a copy beside the store that has value indexes."""
    from mirror import indexes
    from mirror.databases import backup
    from mirror.store.store import Store

    path = Path(url.removeprefix("sqlite:///"))
    copy = path.with_name(f"{path.name}.indexed")
    with Store.open(path) as store:
        backup(store, copy)
    with Store.open(copy) as store:
        for field in INDEXED:
            indexes.add(store, field)


def compare() -> None:
    """Print each comparison with its bar."""
    with world(2000, 200) as place:
        for first in ("side_first_wandb", "side_first_mirror"):
            child(first, *place)  # byte code is compiled, files are in memory
        print(f"{'':<26}{'fresh process, with import':^32}{'later rounds':^32}{'of it CPU of':>14}")
        print(
            f"{'':<26}"
            + f"{'wandb':>11}{'mirror':>11}{'ratio':>8}  " * 2
            + f"{'wandb.Api':>14}   bar"
        )
        for name in LOOPS:
            theirs, ours = (child(side, *place, name) for side in ("side_wandb", "side_mirror"))
            print(
                f"{name:<26}{_ratio(theirs, ours, 'first')}{_ratio(theirs, ours, 'later')}", end=""
            )
            print(f"{theirs['cpu'] * 1e3:>11.1f} ms{_verdict(theirs, ours, name)}", flush=True)
        theirs, ours = (best_of(side, *place) for side in ("side_first_wandb", "side_first_mirror"))
    for name in theirs:
        bar = f"  {API_BAR:>4}x" if name.startswith("Api()") else ""
        print(f"{name:<26}{_ratio(theirs, ours, name)}{bar}")


def _ratio(theirs: dict[str, float], ours: dict[str, float], name: str) -> str:
    them, us = theirs[name], ours[name]
    return f"{them * 1e3:>8.1f} ms{us * 1e3:>8.2f} ms{them / us:>7.1f}x  "


def _verdict(theirs: dict[str, float], ours: dict[str, float], name: str) -> str:
    if name not in BARS:
        return ""
    met = theirs["later"] / ours["later"] >= BARS[name]
    return f"{BARS[name]:>5}x {'ok' if met else 'MISSED'}"


def best_of(side: str, url: str, store: str, home: str) -> dict[str, float]:
    rounds = [child(side, url, store, home) for _ in range(ROUNDS)]
    return {name: min(one[name] for one in rounds) for name in rounds[0]}


def memory(runs: int) -> None:
    """Print the peak memory of a loop over many runs."""
    with world(runs, 1) as place:
        for side in ("side_memory", "side_memory_full"):
            found = child(side, *place)
            print(side, ", ".join(f"{name} {value:,.0f}" for name, value in found.items()))


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
