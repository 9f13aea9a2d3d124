"""A W&B server in a box, for the demo, the tests and the benchmarks.

`World` is what the server knows, `Server` and `serve` put it on a socket. `generate` fills it with
runs, `generate_artifacts` with versions, `generate_registries` links those into registries.
"""

from mirror.sandbox.artifact_generator import generate_artifacts, generate_registries
from mirror.sandbox.generator import generate
from mirror.sandbox.server import Server, serve
from mirror.sandbox.world import World

__all__ = ["Server", "World", "generate", "generate_artifacts", "generate_registries", "serve"]
