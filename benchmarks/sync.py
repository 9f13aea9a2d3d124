"""What a sync costs: against a bare download of the same bytes, from memory, idle, and in memory.

    python benchmarks/sync.py download      first sync against httpx + orjson on the same pages
    python benchmarks/sync.py ingest        runs a second from pages in memory into SQLite
    python benchmarks/sync.py idle [N]      requests and bytes of an idle sync and a reconcile
    python benchmarks/sync.py memory        peak memory of a first sync at 20,000 and 200,000 runs
    python benchmarks/sync.py artifacts [N …]    memory, requests and bytes at N versions (5,000 and 50,000)

Every figure is a ratio against a peer or a baseline of the same run, or a count.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import orjson

from mirror.ingest import ingest_runs
from mirror.sandbox import Server, World, generate, generate_artifacts
from mirror.store.store import Store

KEY = "benchmark0" * 4
PATH = "team/bench"
PAGE_S = 0.050


def world_of(runs: int) -> World:
    world = World()
    world.add_user("alice", key=KEY, entity="alice", teams=["team"])
    world.add_project("team", "bench")
    generate(world, PATH, runs=runs, seed=7)
    return world


# ------------------------------------------------------------------ a server of recorded bytes


class Tape:
    """Request bodies → answers, recorded once from a server and replayed at PAGE_S each."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.answers: dict[bytes, bytes] = {}
        self.order: list[bytes] = []
        self.replaying = False
        self.http = httpx.Client(auth=("api", KEY), timeout=60)

    def answer(self, body: bytes) -> bytes:
        if self.replaying:
            time.sleep(PAGE_S)
            return self.answers[body]
        reply = self.http.post(
            f"{self.upstream}/graphql", content=body, headers={"Content-Type": "application/json"}
        )
        self.order.append(body)
        self.answers[body] = reply.content
        return reply.content


def serve(tape: Tape) -> tuple[ThreadingHTTPServer, str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = tape.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


# ------------------------------------------------------------------ one side each, in its own process


def side_mirror(url: str, store: str, page: str) -> dict[str, float]:
    from mirror.sync import sync

    config = Path(store).with_suffix(".toml")
    config.write_text(f"[sync]\npage_size = {page}\npage_size_max = {page}\n")
    wall, cpu = time.perf_counter(), time.process_time()
    report = sync([PATH], base_url=url, api_key=KEY, store=store, config=str(config))
    assert report.exit_code == 0, report
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "runs": report.counts["runs"],
        "requests": report.requests,
        "bytes": report.bytes,
        "rss_mb": peak_mb(),
    }


def side_bare(url: str, bodies: str, _page: str) -> dict[str, float]:
    requests = [text.encode() for text in json.loads(Path(bodies).read_text())]
    wall, cpu = time.perf_counter(), time.process_time()
    runs = 0
    with httpx.Client(auth=("api", KEY), timeout=60) as client:
        for body in requests:
            answer = client.post(
                f"{url}/graphql", content=body, headers={"Content-Type": "application/json"}
            )
            project = orjson.loads(answer.content)["data"].get("project") or {}
            for value in project.values():
                for edge in value.get("edges", []) if isinstance(value, dict) else []:
                    node = edge["node"]
                    if "summaryMetrics" in node:
                        runs += 1
                        for name in ("config", "summaryMetrics", "systemMetrics"):
                            decode(node.get(name))
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "runs": runs,
        "requests": len(requests),
        "rss_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Peak memory of this process alone; ru_maxrss would count the parent's before the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes


def decode(text: str | None) -> object:
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # bare NaN, raw control characters
        return json.loads(text, strict=False)


def measured(side: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, __file__, f"--{side}", *arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ}
    )
    return json.loads(done.stdout.splitlines()[-1])


# ------------------------------------------------------------------ the benchmarks


def download(runs: int = 20_000, page: int = 100, rounds: int = 3) -> None:
    """A first sync costs little more than the download: wall at most 1.5×, CPU at most 4×."""
    with tempfile.TemporaryDirectory() as folder, Server(world_of(runs), port=0) as sandbox:
        tape = Tape(sandbox.url)
        server, url = serve(tape)
        side_mirror(url, f"{folder}/record.db", str(page))
        tape.replaying = True
        bodies = Path(folder, "bodies.json")
        bodies.write_text(json.dumps([body.decode() for body in tape.order]))
        megabytes = sum(map(len, tape.answers.values())) / 1e6
        print(
            f"{runs} runs, pages of {page}, {len(tape.order)} requests, {megabytes:.1f} MB, {PAGE_S * 1000:.0f} ms a page"
        )
        ratios = []
        for number in range(rounds):
            ours = measured("mirror", url, f"{folder}/{number}.db", str(page))
            bare = measured("bare", url, str(bodies), "")
            assert ours["runs"] == bare["runs"], (ours, bare)
            ratios.append((ours["wall"] / bare["wall"], ours["cpu"] / bare["cpu"]))
            print(
                f"  mirror {ours['wall']:.2f} s wall {ours['cpu']:.2f} s CPU, bare {bare['wall']:.2f} s"
                f" wall {bare['cpu']:.2f} s CPU: wall {ratios[-1][0]:.2f}x, CPU {ratios[-1][1]:.2f}x"
            )
        wall, cpu = (sorted(column)[rounds // 2] for column in zip(*ratios, strict=True))
        print(f"median: wall {wall:.2f}x (bar 1.5x), CPU {cpu:.2f}x (bar 4x)")
        server.shutdown()


def ingest(runs: int = 20_000, page: int = 1000) -> None:
    """From pages in memory into SQLite: 6,000 runs/s with the catalogue, 10,000 without."""
    with Server(world_of(runs), port=0) as sandbox:
        pages = fetched(sandbox.url, page)
    with tempfile.TemporaryDirectory() as folder:
        for catalogue, bar in ((True, 6000), (False, 10_000)):
            rates = []
            for number in range(3):
                path = f"{folder}/{catalogue}{number}.db"
                with Store.open(path, create=True, upgrade=True) as store:
                    began = time.perf_counter()
                    for nodes in pages:
                        with store.begin() as tx:
                            ingest_runs(
                                tx,
                                nodes,
                                project_id="1",
                                synced_at="2024-01-01T00:00:00Z",
                                catalogue=catalogue,
                            )
                    rates.append(runs / (time.perf_counter() - began))
            print(
                f"catalogue {'on ' if catalogue else 'off'}: {max(rates):,.0f} runs/s best of 3, {sorted(rates)[1]:,.0f} median (bar {bar:,})"
            )


def fetched(url: str, page: int) -> list[list[dict]]:
    from mirror.remote.client import Client
    from mirror.remote.operations import Runs
    from mirror.remote.pages import Page
    from mirror.sync.listing import Project, windows
    from mirror.sync.walk import Window

    with Client(url, KEY) as client:
        project = Project(client, *PATH.split("/"))

        def ask(window: Window) -> Page:
            runs = Runs(window.filters({}), first=page, after=window.after)
            return project.ask({"page": runs}).pages["page"]

        return [list(found.nodes) for found, _here, _next in windows(ask)]


def idle(runs: int = 2000) -> None:
    """Idle is cheap: at most 4 requests and 64 KB; a reconcile N/1000 + 3 more, no documents."""
    from mirror.sync import sync

    with tempfile.TemporaryDirectory() as folder, Server(world_of(runs), port=0) as sandbox:
        ask = partial(sync, [PATH], base_url=sandbox.url, api_key=KEY, store=f"{folder}/m.db")
        for name, more in (
            ("first", {}),
            ("idle", {}),
            ("idle again", {}),
            ("reconcile", {"reconcile": True}),
        ):
            report = ask(**more)
            assert report.exit_code == 0, report
            print(
                f"{runs:>7} runs, {name:<10} {report.requests:>4} requests {report.bytes / 1024:>10,.1f} KB {report.counts['runs']:>7} documents {report.elapsed_s:>6.2f} s"
            )


def memory() -> None:
    """Memory is flat: peak RSS at 200,000 runs at most 1.2× that at 20,000, and under 250 MB."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for runs in (20_000, 200_000):
            with Server(world_of(runs), port=0) as sandbox:
                began = time.perf_counter()
                found = measured("mirror", sandbox.url, f"{folder}/{runs}.db", "1000")
                peaks[runs] = found["rss_mb"]
                print(
                    f"{runs:>7} runs: peak {found['rss_mb']:.0f} MB, {runs / (time.perf_counter() - began):,.0f} runs/s over HTTP"
                )
    print(
        f"ratio {peaks[200_000] / peaks[20_000]:.2f} (bar 1.2), peak {max(peaks.values()):.0f} MB (bar 250)"
    )


def artifacts(*versions: int) -> None:
    """Memory, requests and bytes over versions of artifacts, 500 a collection, 50 logged by each run."""
    first: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in versions or (5000, 50_000):
            world = world_of(max(1, count // 100))  # every second version was logged
            generate_artifacts(
                world, PATH, versions=count, collections=max(1, count // 500), files=1
            )
            with Server(world, port=0) as sandbox:
                for name in ("first", "idle"):
                    found = measured("mirror", sandbox.url, f"{folder}/{count}.db", "1000")
                    first.setdefault(count, found["rss_mb"])
                    print(
                        f"{count:>7} versions, {name:<5} {found['requests']:>4} requests"
                        f" {found['bytes'] / 1024:>10,.1f} KB {found['wall']:>6.2f} s,"
                        f" peak {found['rss_mb']:.0f} MB"
                    )
    print(f"first sync, most over least: {max(first.values()) / min(first.values()):.2f}")


def main() -> None:
    if sys.argv[1:2] and sys.argv[1].startswith("--"):
        side = {"--mirror": side_mirror, "--bare": side_bare}[sys.argv[1]]
        print(json.dumps(side(*sys.argv[2:])))
        return
    chosen = sys.argv[1:2] or ["download", "ingest", "idle", "memory", "artifacts"]
    for name in chosen:
        numbers = [int(text) for text in sys.argv[2:]]
        {
            "download": download,
            "ingest": ingest,
            "idle": idle,
            "memory": memory,
            "artifacts": artifacts,
        }[name](*numbers)


if __name__ == "__main__":
    main()
