"""`python -m mirror.sandbox`: serve a world with a generated project until interrupted."""

from __future__ import annotations

import argparse
import gc
import sys

from mirror.sandbox import Server, World, generate, generate_artifacts, generate_registries

KEY = f"sandbox-{0:040}"
"""Long enough for the real client, which wants 40 characters after the dash."""


def main() -> None:
    """Read the command line, fill a world and serve it."""
    parser = argparse.ArgumentParser(
        prog="python -m mirror.sandbox", description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8088, help="port; 0 takes a free one")
    parser.add_argument("--runs", type=int, default=2000, help="runs of team/vision")
    parser.add_argument("--versions", type=int, default=200, help="artifacts of team/vision")
    parser.add_argument("--seed", type=int, default=7, help="the same seed, the same runs")
    parser.add_argument("--key", default=KEY, help="API key of the user alice")
    parser.add_argument(
        "--updated-at", default="trustworthy", choices=("trustworthy", "unfilterable", "frozen"),
        help="the character of Run.updatedAt",
    )  # fmt: skip
    given = parser.parse_args()
    world = World(updated_at=given.updated_at)
    world.add_user("alice", key=given.key, teams=["team"])
    generate(world, "team/vision", runs=given.runs, seed=given.seed)
    if given.versions:
        world.add_organization("acme", teams=["team"], members=["alice"])
        generate_artifacts(world, "team/vision", versions=given.versions, seed=given.seed)
        generate_registries(world, "acme", "team/vision", collections=20, seed=given.seed)
    gc.freeze()  # the world is here to stay: collecting garbage need not look through it
    server = Server(world, host=given.host, port=given.port)
    sys.stdout.write(f"export WANDB_BASE_URL={server.url} WANDB_API_KEY={given.key}\n")
    sys.stdout.flush()
    server.run_forever()


if __name__ == "__main__":
    main()
