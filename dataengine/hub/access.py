"""What every request to the stand-in Hub goes through: who may ask, for what, and how much it may send."""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dataengine.hub.objects import Objects, Repo

MOST_BODY_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Access:
    """Local host names only; writing and private repositories need the token, when there is one."""

    objects: Objects
    token: str | None
    owner: str
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def check_host(self, request: Request) -> None:
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            raise HTTPException(403, f"this Hub answers to localhost only, not to {host!r}")

    def authorised(self, request: Request) -> bool:
        return self.token is None or request.headers.get("authorization") == f"Bearer {self.token}"

    def need_token(self, request: Request) -> None:
        self.check_host(request)
        if not self.authorised(request):
            raise HTTPException(401, "a valid token is needed")

    def ticket(self, oid: str) -> str:
        """What an address to upload this object to must carry: the client sends no token there."""
        return hmac.new(self.secret, oid.encode(), "sha256").hexdigest()

    def need_ticket(self, request: Request) -> None:
        self.check_host(request)
        given = request.query_params.get("ticket", "")
        if not hmac.compare_digest(given.encode(), self.ticket(request.path_params["oid"]).encode()):
            raise HTTPException(403, "objects are uploaded to the address that objects/batch gives")

    def repo_of(self, request: Request, *, write: bool = False) -> Repo:
        self.need_token(request) if write else self.check_host(request)
        repo = self.objects.get(f"{request.path_params['owner']}/{request.path_params['name']}")
        if repo is None or (repo.private and not self.authorised(request)):
            raise HTTPException(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})
        return repo

    def commit_of(self, request: Request, repo: Repo) -> str:
        commit = repo.resolve(unquote(request.path_params.get("revision", "main")))
        if commit is None:
            raise HTTPException(404, "Revision not found", {"X-Error-Code": "RevisionNotFound"})
        return commit


def inner_path(path: str) -> str:
    if not path or path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise HTTPException(400, f"{path!r} is not a path inside a repository")
    return path


def page_url(request: Request, repo_id: str) -> str:
    return f"{str(request.base_url).rstrip('/')}/datasets/{repo_id}"


async def read_body(request: Request) -> bytes:
    """The whole body, bounded: what a commit carries inline is small files only."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MOST_BODY_BYTES:
            raise HTTPException(413, "the request is too large")
    return bytes(body)


async def read_json(request: Request) -> dict[str, Any]:
    try:
        data = json.loads(await read_body(request) or b"{}")
    except ValueError as error:
        raise HTTPException(400, "the request is not JSON") from error
    if not isinstance(data, dict):
        raise HTTPException(400, "the request is not a JSON object")
    return data
