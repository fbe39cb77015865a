"""The stand-in Hub's writing half: create, upload objects, commit, tag, branch."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import shutil
import time
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dataengine.hub.access import Access, inner_path, page_url, read_body, read_json
from dataengine.hub.objects import REF, File, git_blob

# What an upload leaves free on the disk.
RESERVE = 64 * 2**20
LARGE = 10 * 2**20
LFS_SUFFIXES = (".mp4", ".parquet", ".arrow", ".safetensors", ".bin", ".h5", ".hdf5", ".png", ".jpg")


def account_routes(access: Access) -> list[Route]:
    """What does not belong to one repository: who am I, a new repository, uploaded objects."""
    objects = access.objects

    async def whoami(request: Request) -> Response:
        access.need_token(request)
        return JSONResponse(
            {
                "type": "user",
                "name": access.owner,
                "fullname": access.owner,
                "orgs": [],
                "auth": {"type": "access_token"},
            }
        )

    async def create(request: Request) -> Response:
        access.need_token(request)
        body = await read_json(request)
        repo_id = f"{body.get('organization') or access.owner}/{body['name']}"
        made = objects.create(repo_id, bool(body.get("private", True)))
        if not made:
            return JSONResponse({"error": "You already created this repo", "url": page_url(request, repo_id)}, 409)
        return JSONResponse({"url": page_url(request, repo_id), "name": repo_id, "id": repo_id})

    async def validate_yaml(request: Request) -> Response:
        import yaml

        content = (await read_json(request)).get("content", "")
        block = re.match(r"---\n(.*?)\n---", content, re.S)
        try:
            data = yaml.safe_load(block.group(1)) if block else {}
        except yaml.YAMLError as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        errors = [] if isinstance(data, dict) else [{"message": "the front matter is not a mapping"}]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def lfs_put(request: Request) -> Response:
        access.need_ticket(request)
        oid = request.path_params["oid"]
        target = objects.object(oid)
        size = int(request.headers.get("content-length", -1))
        if size < 0:
            return JSONResponse({"error": "the size of the object is not stated"}, 411)
        if size > shutil.disk_usage(objects.root).free - RESERVE:
            return JSONResponse({"error": f"there is no room for {size:,} bytes"}, 507)
        part = target.with_name(f"{oid}.part.{time.monotonic_ns()}")
        digest = hashlib.sha256()
        try:
            with part.open("wb") as file:
                async for block in request.stream():
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != oid:
                return JSONResponse({"error": "content does not match its sha256"}, 400)
            part.replace(target)
        finally:  # the client may have gone in the middle
            part.unlink(missing_ok=True)
        return Response()

    async def lfs_verify(request: Request) -> Response:
        access.need_ticket(request)
        path = objects.object(request.path_params["oid"])
        size = (await read_json(request)).get("size")
        return Response(status_code=200 if path.exists() and path.stat().st_size == size else 404)

    return [
        Route("/api/whoami-v2", whoami),
        Route("/api/repos/create", create, methods=["POST"]),
        Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
        Route("/lfs/{oid}", lfs_put, methods=["PUT"]),
        Route("/lfs/{oid}/verify", lfs_verify, methods=["POST"]),
    ]


def writing_routes(access: Access, api: str, web: str) -> list[Route]:
    """Changing one repository."""
    objects = access.objects

    async def preupload(request: Request) -> Response:
        repo = access.repo_of(request, write=True)
        head = repo.resolve(unquote(request.path_params["revision"]))
        tree = repo.tree(head) if head else {}
        answer = []
        for file in (await read_json(request))["files"]:
            large = file["size"] > LARGE or file["path"].endswith(LFS_SUFFIXES)
            known = tree.get(file["path"])
            entry = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if known is not None:
                entry["oid"] = known.sha256 if known.lfs else known.git
            answer.append(entry)
        return JSONResponse({"files": answer, "commitOid": head})

    async def lfs_batch(request: Request) -> Response:
        access.repo_of(request, write=True)
        answer: list[dict[str, Any]] = []
        for item in (await read_json(request))["objects"]:
            entry: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if not objects.object(item["oid"]).exists():
                base, ticket = str(request.base_url).rstrip("/"), access.ticket(item["oid"])
                entry["actions"] = {
                    "upload": {"href": f"{base}/lfs/{item['oid']}?ticket={ticket}"},
                    "verify": {"href": f"{base}/lfs/{item['oid']}/verify?ticket={ticket}"},
                }
            answer.append(entry)
        return JSONResponse({"transfer": "basic", "objects": answer}, media_type="application/vnd.git-lfs+json")

    async def commit(request: Request) -> Response:
        access.need_token(request)
        lines = [json.loads(line) for line in (await read_body(request)).splitlines() if line.strip()]
        repo = access.repo_of(request, write=True)  # as it is now: others may have written while the body came
        branch = unquote(request.path_params["revision"])
        header: dict[str, Any] = next((line["value"] for line in lines if line["key"] == "header"), {})
        added: dict[str, File] = {}
        deleted: list[str] = []
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                try:
                    content = base64.b64decode(value["content"], validate=True)
                except binascii.Error:
                    return JSONResponse({"error": f"{value['path']}: content is not base64"}, 400)
                added[inner_path(value["path"])] = File(
                    objects.add_object(content), git_blob(content), len(content), False
                )
            elif line["key"] == "lfsFile":
                stored = objects.object(value["oid"])
                if not stored.exists():
                    return JSONResponse({"error": f"{value['path']}: its content was not uploaded"}, 400)
                pointer = (
                    f"version https://git-lfs.github.com/spec/v1\noid sha256:{value['oid']}\nsize {value['size']}\n"
                )
                added[inner_path(value["path"])] = File(
                    value["oid"], git_blob(pointer.encode()), stored.stat().st_size, True
                )
            elif line["key"] in ("deletedFile", "deletedFolder"):
                deleted.append(value["path"])
        message = f"{header.get('summary', '')}\n\n{header.get('description', '')}".strip()
        made = objects.commit(repo, branch, added, deleted, message, header.get("parentCommit"))
        if made is None:
            return JSONResponse({"error": "the branch has moved since parentCommit"}, 412)
        url = f"{page_url(request, repo.id)}/commit/{made}"
        return JSONResponse({"success": True, "commitOid": made, "commitUrl": url, "hookOutput": ""})

    async def tag(request: Request) -> Response:
        access.need_token(request)
        body = await read_json(request)
        repo = access.repo_of(request, write=True)
        name = unquote(request.path_params["revision"])
        if request.method == "DELETE":
            if repo.tags.pop(name, None) is None:
                raise HTTPException(404, "Tag not found", {"X-Error-Code": "RevisionNotFound"})
            objects.save(repo)
            return Response()
        target, new = access.commit_of(request, repo), body["tag"]
        if not REF.fullmatch(new):
            return JSONResponse({"error": f"{new!r} is not a tag name"}, 400)
        if new in repo.tags:
            return JSONResponse({"error": "Tag reference exists already"}, 409)
        repo.tags[new] = target
        objects.save(repo)
        return Response(status_code=201)

    async def branch(request: Request) -> Response:
        access.need_token(request)
        body = await read_json(request)
        repo = access.repo_of(request, write=True)
        name = unquote(request.path_params["revision"])
        if name in repo.branches:
            return JSONResponse({"error": "Reference already exists"}, 409)
        start = body.get("startingPoint", "main")
        target = repo.resolve(start)
        if target is None or not REF.fullmatch(name):
            raise HTTPException(404, "Revision not found", {"X-Error-Code": "RevisionNotFound"})
        repo.branches[name] = target
        objects.save(repo)
        return Response(status_code=201)

    return [
        Route(f"{web}.git/info/lfs/objects/batch", lfs_batch, methods=["POST"]),
        Route(f"{api}/preupload/{{revision}}", preupload, methods=["POST"]),
        Route(f"{api}/commit/{{revision}}", commit, methods=["POST"]),
        Route(f"{api}/tag/{{revision}}", tag, methods=["POST", "DELETE"]),
        Route(f"{api}/branch/{{revision}}", branch, methods=["POST"]),
    ]
