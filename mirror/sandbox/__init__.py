"""A W&B server in a box, for the demo, the tests and the benchmarks.

`World` is what the server knows, `generate` fills it, `Server` and `serve` put it on a socket.
"""

from mirror.sandbox.generator import generate
from mirror.sandbox.server import Server, serve
from mirror.sandbox.world import World

__all__ = ["Server", "World", "generate", "serve"]
