"""A Hub for rehearsals and tests: the endpoints huggingface_hub and stock LeRobot use for datasets.

Serves one folder on 127.0.0.1; the real client talks to it through `HF_ENDPOINT`. With a token, writing and
private repositories need it. Not a public server: no quotas, no users but one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dataengine.errors import DataEngineError, StoreError
from dataengine.hub.access import Access
from dataengine.hub.objects import Objects
from dataengine.hub.reading import page_routes, reading_routes
from dataengine.hub.writing import account_routes, writing_routes

REPO_PATH = "/{owner}/{name}"


def make_app(root: Path, *, token: str | None = None, owner: str = "local") -> Starlette:
    """The application over the folder `root`. owner: who `whoami` says the token belongs to."""
    access = Access(Objects(root), token, owner)
    routes = account_routes(access)
    for kind, web in (("datasets", f"/datasets{REPO_PATH}"), ("models", REPO_PATH)):
        api = f"/api/{kind}{REPO_PATH}"
        routes += writing_routes(access, api, web) + reading_routes(access, api, web)
    kinds = (HTTPException, ClientDisconnect, StoreError, ValueError, KeyError, TypeError, AttributeError)
    wrong = dict.fromkeys(kinds, _error)
    return Starlette(routes=routes + page_routes(access, REPO_PATH), exception_handlers=wrong)


@contextmanager
def serving(root: Path, *, port: int = 0, token: str | None = None, owner: str = "local") -> Iterator[str]:
    """The stand-in Hub on 127.0.0.1 in a thread of this process; gives its address. Port 0: any free one."""
    config = uvicorn.Config(make_app(root, token=token, owner=owner), host="127.0.0.1", port=port, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise DataEngineError(f"the stand-in Hub could not listen on 127.0.0.1:{port}")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


async def _error(request: Request, error: Exception) -> Response:
    """Bodies come from anybody: what does not fit its form is the asker's fault, and no traceback here."""
    if not isinstance(error, HTTPException):
        error = HTTPException(400, "the request is not what this address takes")
    headers = {**(error.headers or {}), "X-Error-Message": error.detail}
    return JSONResponse({"error": error.detail}, error.status_code, headers)
