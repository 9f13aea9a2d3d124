"""Files over HTTP with ranges, and faults that are used up one a request."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from mirror.blobs import Downloaded, Entry

Get = Callable[..., Downloaded]
"""The type of the `get` fixture."""


def md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def entry_of(path: str, body: bytes, **more: object) -> Entry:
    return Entry(path, md5(body), len(body), **more)  # type: ignore[arg-type]


class Host:
    """`files` by path; `asked` is what was asked for, as (path, Range, Authorization).

    `faults` are taken from the front by requests: a status, "cut" (half the body, then the connection
    ends), "short" (half the body, and a length that agrees), "wrong" (other bytes), "norange" (the
    whole body, whatever was asked), "slow" (half the body, then wait for `go_on`).
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.addresses_asked: list[list[str]] = []
        self.go_on = threading.Event()
        self.half_sent = threading.Event()
        self.stamp = 0
        self._lock = threading.Lock()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = (
                -1
            )  # head and body in one packet, or each answer waits for an acknowledgement

            def log_message(self, *_args: object) -> None: ...

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):  # the client has heard enough
                    host.answer(self)
                    self.wfile.flush()

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Host:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()

    def urls(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Signed addresses: of another host by name, so that a key must not go there."""
        self.addresses_asked.append([entry.path for entry in entries])
        self.stamp += 1
        base = self.url.replace("127.0.0.1", "localhost")
        return {
            e.path: f"{base}/{quote(e.path)}?signature={self.stamp}"
            for e in entries
            if e.path in self.files
        }

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path.split("?")[0])[1:]
        asked_range = request.headers.get("Range")
        with self._lock:
            self.asked.append((path, asked_range, request.headers.get("Authorization")))
            fault = self.faults.pop(0) if self.faults else None
        body = self.files.get(path)
        if isinstance(fault, int) or body is None:
            self._send(request, fault if isinstance(fault, int) else 404, b"no")
            return
        status, start = 200, 0
        found = re.fullmatch(r"bytes=(\d+)-", asked_range or "")
        if found and fault != "norange":
            status, start = 206, int(found[1])
            if start >= len(body):
                self._send(request, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
                return
        more = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        self._send_body(request, status, body[start:], fault, more)

    def _send_body(
        self, request: BaseHTTPRequestHandler, status: int, rest: bytes, fault: object,
        headers: dict[str, str],
    ) -> None:  # fmt: skip
        half = rest[: (len(rest) + 1) // 2]
        if fault == "wrong":
            self._send(request, status, bytes(255 - byte for byte in rest), headers)
        elif fault == "short":
            self._send(request, status, half, headers)
        elif fault == "cut":
            self._send(request, status, half, headers, length=len(rest))
            request.close_connection = True
        elif fault == "slow":
            self._send(request, status, half, headers, length=len(rest))
            request.wfile.flush()
            self.half_sent.set()
            self.go_on.wait(30)
            request.wfile.write(rest[len(half) :])
        else:
            self._send(request, status, rest, headers)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes,
        headers: dict[str, str] | None = None, length: int | None = None,
    ) -> None:  # fmt: skip
        request.send_response(status)
        for name, value in {**self.headers, **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)
