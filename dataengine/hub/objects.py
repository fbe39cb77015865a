"""Where the stand-in Hub keeps what it is given: content-addressed objects and repositories of commits."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataengine.errors import StoreError

# As on the Hub, neither two dots nor two dashes: the latter stand for the slash in names of files.
REPO_ID = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
REF = re.compile(r"[A-Za-z0-9][\w./-]{0,99}")


@dataclass(frozen=True)
class File:
    """A file of a commit. lfs: stored by sha256 as the Hub stores large files."""

    sha256: str
    git: str
    size: int
    lfs: bool


@dataclass
class Repo:
    """A repository: every commit's whole tree, and where its branches and tags point."""

    id: str
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Any]] = field(default_factory=dict)

    def resolve(self, revision: str) -> str | None:
        for names in (self.branches, self.tags):
            if revision in names:
                return names[revision]
        return revision if revision in self.commits else None

    def tree(self, commit: str) -> dict[str, File]:
        return {path: File(**entry) for path, entry in self.commits[commit]["tree"].items()}


class Objects:
    """A folder with `objects/<sha256>` and one `repos/…json` each; every write is a rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.RLock()
        (root / "objects").mkdir(parents=True, exist_ok=True)
        (root / "repos").mkdir(exist_ok=True)

    def object(self, sha256: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise StoreError(f"{sha256!r} is not a sha256")
        return self.root / "objects" / sha256

    def add_object(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.object(sha256).exists():
            self._replace(self.object(sha256), content)
        return sha256

    def create(self, repo_id: str, private: bool) -> bool:
        """False when it already exists."""
        if not REPO_ID.fullmatch(repo_id):
            raise StoreError(f"{repo_id!r} is not owner/name")
        with self.lock:
            if self.get(repo_id) is not None:
                return False
            repo = Repo(repo_id, private)
            commit = self._commit(repo, {}, "initial commit", None)
            repo.branches["main"] = commit
            self.save(repo)
            return True

    def get(self, repo_id: str) -> Repo | None:
        path = self._path(repo_id)
        if not REPO_ID.fullmatch(repo_id) or not path.exists():
            return None
        return Repo(**json.loads(path.read_text()))

    def all(self) -> list[Repo]:
        return [Repo(**json.loads(path.read_text())) for path in sorted((self.root / "repos").glob("*.json"))]

    def save(self, repo: Repo) -> None:
        self._replace(self._path(repo.id), json.dumps(asdict(repo)).encode())

    def commit(
        self, repo: Repo, branch: str, added: dict[str, File], deleted: list[str], message: str, parent: str | None
    ) -> str | None:
        """The new commit, or None when `parent` is no longer the branch's head."""
        with self.lock:
            head = repo.branches.get(branch)
            if parent is not None and parent != head:
                return None
            tree = repo.tree(head) if head else {}
            for gone in deleted:
                tree = {p: f for p, f in tree.items() if p != gone and not p.startswith(gone.rstrip("/") + "/")}
            tree |= added
            commit = self._commit(repo, {p: asdict(f) for p, f in sorted(tree.items())}, message, head)
            repo.branches[branch] = commit
            self.save(repo)
            return commit

    def _commit(self, repo: Repo, tree: dict[str, Any], message: str, parent: str | None) -> str:
        content = {
            "tree": tree,
            "message": message,
            "parent": parent,
            "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        commit = hashlib.sha1(json.dumps(content, sort_keys=True).encode()).hexdigest()
        repo.commits[commit] = content
        return commit

    def _path(self, repo_id: str) -> Path:
        return self.root / "repos" / f"{repo_id.replace('/', '--')}.json"

    def _replace(self, path: Path, content: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
