"""The stand-in Hub's reading half: refs, trees, files by revision with ranges, and pages for a browser."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dataengine.hub.access import Access, read_body
from dataengine.hub.objects import File
from dataengine.hub.pages import index_page, repo_page


def reading_routes(access: Access, api: str, web: str) -> list[Route]:
    """Reading one repository."""
    objects = access.objects

    async def refs(request: Request) -> Response:
        repo = access.repo_of(request)

        def listed(names: dict[str, str], kind: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": c} for n, c in sorted(names.items())]

        return JSONResponse(
            {
                "branches": listed(repo.branches, "heads"),
                "tags": listed(repo.tags, "tags"),
                "converts": [],
                "pullRequests": [],
            }
        )

    async def info(request: Request) -> Response:
        repo = access.repo_of(request)
        sha = access.commit_of(request, repo)
        date = repo.commits[sha]["date"]
        siblings = [{"rfilename": path, "size": f.size} for path, f in repo.tree(sha).items()]
        head = {"id": repo.id, "author": repo.id.split("/")[0], "sha": sha, "private": repo.private, "disabled": False}
        return JSONResponse(
            {
                **head,
                "lastModified": date,
                "createdAt": date,
                "gated": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": siblings,
            }
        )

    async def tree(request: Request) -> Response:
        repo = access.repo_of(request)
        files = repo.tree(access.commit_of(request, repo))
        folder = request.path_params.get("path", "").strip("/")
        deep = request.query_params.get("recursive", "").lower() in ("1", "true")
        entries: dict[str, dict[str, Any]] = {}
        for path, file in files.items():
            if folder and not path.startswith(folder + "/"):
                continue
            rest = path[len(folder) + 1 if folder else 0 :].split("/")
            for depth in range(1, len(rest)):
                name = "/".join(([folder] if folder else []) + rest[:depth])
                entries.setdefault(name, {"type": "directory", "path": name, "size": 0, "oid": "0" * 40})
                if not deep:
                    break
            if deep or len(rest) == 1:
                entries[path] = _entry(path, file)
        if folder and not entries:
            raise HTTPException(404, "Entry not found", {"X-Error-Code": "EntryNotFound"})
        return JSONResponse([entries[path] for path in sorted(entries)])

    async def paths_info(request: Request) -> Response:
        repo = access.repo_of(request)
        files = repo.tree(access.commit_of(request, repo))
        body = await read_body(request)
        if request.headers.get("content-type", "").startswith("application/json"):
            wanted = json.loads(body)["paths"]
        else:
            wanted = parse_qs(body.decode()).get("paths", [])
        return JSONResponse(
            [_entry(p, files[p]) for p in ([wanted] if isinstance(wanted, str) else wanted) if p in files]
        )

    async def commits(request: Request) -> Response:
        repo = access.repo_of(request)
        sha: str | None = access.commit_of(request, repo)
        listed = []
        while sha is not None:
            one = repo.commits[sha]
            title, _, message = one["message"].partition("\n\n")
            listed.append(
                {
                    "id": sha,
                    "title": title,
                    "message": message,
                    "date": one["date"],
                    "authors": [{"user": access.owner}],
                }
            )
            sha = one["parent"]
        return JSONResponse(listed)

    async def resolve(request: Request) -> Response:
        repo = access.repo_of(request)
        sha = access.commit_of(request, repo)
        file = repo.tree(sha).get(request.path_params["path"])
        if file is None:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha}
            raise HTTPException(404, "Entry not found", headers)
        etag = f'"{file.sha256 if file.lfs else file.git}"'
        headers = {"X-Repo-Commit": sha, "ETag": etag, "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(file.size)}
        return FileResponse(objects.object(file.sha256), headers=headers, media_type="application/octet-stream")

    return [
        Route(f"{web}/resolve/{{revision}}/{{path:path}}", resolve, methods=["GET", "HEAD"]),
        Route(f"{api}/refs", refs),
        Route(f"{api}/revision/{{revision}}", info),
        Route(f"{api}/tree/{{revision}}", tree),
        Route(f"{api}/tree/{{revision}}/{{path:path}}", tree),
        Route(f"{api}/paths-info/{{revision}}", paths_info, methods=["POST"]),
        Route(f"{api}/commits/{{revision}}", commits),
        Route(api, info),
    ]


def page_routes(access: Access, repo_path: str) -> list[Route]:
    """What a person sees."""
    objects = access.objects

    async def page(request: Request) -> Response:
        repo = access.repo_of(request)
        sha = access.commit_of(request, repo)
        files = repo.tree(sha)
        card = objects.object(files["README.md"].sha256).read_text() if "README.md" in files else ""
        return HTMLResponse(repo_page(repo, sha, files, card))

    async def index(request: Request) -> Response:
        access.check_host(request)
        return HTMLResponse(index_page([r for r in objects.all() if not r.private or access.authorised(request)]))

    return [Route("/", index), Route(f"/datasets{repo_path}", page)]


def _entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.git}
    if file.lfs:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
    return entry
