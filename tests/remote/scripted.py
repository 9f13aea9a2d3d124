"""A server on loopback that answers what a test has written down, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

DATA: dict[str, Any] = {"data": {"viewer": {"username": "me"}}}


@dataclass
class Say:
    """One answer. `body` is sent as JSON unless it is bytes; `cut` breaks the connection instead."""

    body: Any = field(default_factory=lambda: DATA)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: Literal["before", "within", None] = None
    drip_s: float = 0.0  # between its bytes
    zipped: bool = False

    def content(self) -> bytes:
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return gzip.compress(raw) if self.zipped else raw


@dataclass
class Heard:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Scripted:
    """Answers with `script` in turn, its last entry for ever; an entry may be a function of the request."""

    def __init__(self, *script: Say | Callable[[Heard], Say]) -> None:
        self.script = list(script) or [Say()]
        self.heard: list[Heard] = []
        self._lock = threading.Lock()
        self._http = _Listener(("127.0.0.1", 0), self._handler())
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def answer(self, heard: Heard) -> Say:
        with self._lock:
            self.heard.append(heard)
            entry = self.script[min(len(self.heard), len(self.script)) - 1]
        return entry if isinstance(entry, Say) else entry(heard)

    def __enter__(self) -> Scripted:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                say = scripted.answer(Heard(self.path, dict(self.headers), json.loads(raw)))
                if say.cut == "before":
                    self._reset()
                    return
                content = say.content()
                self.send_response(say.status)
                if say.zipped:
                    self.send_header("Content-Encoding", "gzip")
                for name, value in say.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if say.drip_s:
                    self._drip(content, say.drip_s)
                    return
                self.wfile.write(content[: len(content) // 2] if say.cut else content)
                if say.cut:
                    self.wfile.flush()
                    self._reset()

            def _drip(self, content: bytes, pause_s: float) -> None:
                with contextlib.suppress(OSError):  # the other side may have had enough
                    for byte in content:
                        self.wfile.write(bytes([byte]))
                        time.sleep(pause_s)

            def _reset(self) -> None:
                """Close so that the other side sees the connection break, not end."""
                self.close_connection = True
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

            def log_message(self, *_args: Any) -> None: ...

        return Handler
