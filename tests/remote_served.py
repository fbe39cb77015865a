"""A small HTTP server for tests: a folder, ranges, index pages, a count of what was sent, and faults on order."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Served:
    """address: of the folder. asked: every path with its Range header. sent: bytes of bodies. fault: called with
    the handler and the path before an answer; what it answers itself, it says by True.
    """

    folder: Path
    address: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    ranges: bool = True
    marks: bool = True
    fault: Callable[[BaseHTTPRequestHandler, str], bool] | None = None

    def forget(self) -> None:
        self.asked, self.sent = [], 0

    def paths(self) -> set[str]:
        return {path for path, _ in self.asked}


def reply(handler: BaseHTTPRequestHandler, code: int, body: bytes, **headers: str) -> bool:
    """A whole answer; `Content_Length` and others may say something else than the truth."""
    handler.send_response(code)
    said = {"Content_Length": str(len(body)), **headers}
    for name, value in said.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    return True


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path, wanted = unquote(self.path).lstrip("/"), self.headers.get("Range")
            served.asked.append((path, wanted))
            if served.fault is not None and served.fault(self, path):
                return
            file = folder / path
            if file.is_dir() and path.endswith("/"):
                names = [p.name + "/" * p.is_dir() for p in sorted(file.iterdir())]
                reply(self, 200, "".join(f'<li><a href="{n}">{n}</a></li>' for n in ["../", *names]).encode())
                return
            if not file.is_file():
                reply(self, 404, b"no such file")
                return
            data = file.read_bytes()
            headers = {"ETag": f'"{file.stat().st_mtime_ns:x}-{len(data):x}"'} if served.marks else {}
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted or "") if served.ranges else None
            if found:
                begin, end = int(found[1]), min(int(found[2]), len(data) - 1)
                headers["Content_Range"] = f"bytes {begin}-{end}/{len(data)}"
                data = data[begin : end + 1]
            served.sent += len(data)
            reply(self, 206 if found else 200, data, **headers)

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients that leave in the middle are what is tested."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
