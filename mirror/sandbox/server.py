"""The socket: a threaded HTTP/1.1 server in front of a world.

`Server` runs in a thread of its own, `serve` blocks. What a request means is decided in `answers.py`
and `uploads.py`; here are only bytes, headers and cut connections.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mirror.sandbox.requests import Request
from mirror.sandbox.world import World

if TYPE_CHECKING:
    from mirror.sandbox.answers import Answer


PIECES = 10


class Server:
    """A world on a socket of 127.0.0.1: `with Server(world) as server: server.url`."""

    def __init__(self, world: World, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind the socket; port 0 takes a free one."""
        import_module("mirror.sandbox.answers")  # a missing extra fails here, not in a request
        self.world = world
        self._http = Listener((host, port), world)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Server:
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.01,), name="sandbox", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening, close every connection, and wait for the threads."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.close()

    def run_forever(self) -> None:
        """Serve in this thread until interrupted."""
        try:
            self._http.serve_forever(0.2)
        except KeyboardInterrupt:
            pass
        finally:
            self._http.close()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.stop()


def serve(world: World, host: str = "127.0.0.1", port: int = 8088) -> None:
    """Serve a world until interrupted."""
    Server(world, host=host, port=port).run_forever()


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], world: World) -> None:
        self.world = world
        self._open: set[socket.socket] = set()
        super().__init__(address, Handler)

    @property
    def base_url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away; anything else is a bug, and shown."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Close the listening socket and every connection that is kept alive."""
        self.server_close()
        for one in list(self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client closed it first


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_POST(self) -> None:
        self._answer()

    do_GET = do_PUT = do_HEAD = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged in the world, not on the terminal."""

    def _answer(self) -> None:
        # Loaded by the first server, not by who only fills a world: graphql-core is an extra.
        from mirror.sandbox.answers import Asked, failed, respond

        try:
            body = self._body()
        except (OSError, EOFError, zlib.error, ValueError):  # not gzip, or not chunks
            self._send(failed(400, "request body cannot be read"))
            return
        world = self.server.world
        host = self.headers.get("Host")
        asked = Asked(
            self.command, self.path, dict(self.headers.items()), body,
            f"http://{host}" if host else self.server.base_url,
        )  # fmt: skip
        answer = respond(world, asked)
        if answer.latency_s:
            time.sleep(answer.latency_s)
        world.requests.add(
            Request(
                answer.operation, answer.fields, answer.variables,
                0 if answer.drop == "connection" else answer.status,
                len(body), 0 if answer.drop == "connection" else len(answer.body),
                answer.user, self.path.split("?")[0],
            )
        )  # fmt: skip
        self._send(answer)

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else self._chunks()
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _chunks(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return b""
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, answer: Answer) -> None:
        if answer.drop == "connection":
            self._cut()
            return
        world = self.server.world
        date = world.now + timedelta(seconds=world.faults.clock_skew_s)
        lines = [
            f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('',))[0]}",
            f"Date: {format_datetime(date, usegmt=True)}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        body = b"" if self.command == "HEAD" else answer.body
        if answer.drop == "body":
            self.wfile.write(head + body[: len(body) // 2])
            self._cut()
            return
        if answer.trickle_s and body:
            self.wfile.write(head)
            self._trickle(body, answer.trickle_s)
            return
        self.wfile.write(head + body)

    def _trickle(self, body: bytes, seconds: float) -> None:
        size = max(1, len(body) // PIECES)
        for at in range(0, len(body), size):
            self.wfile.write(body[at : at + size])
            time.sleep(seconds / PIECES)

    def _cut(self) -> None:
        """Close without a goodbye, so that the client sees the connection break."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
