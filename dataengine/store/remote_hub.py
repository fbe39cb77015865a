"""`hf://owner/name@revision`: pinned to one commit, whose listing says what there is."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from dataengine.errors import ConfigError, MissingDependency, StoreError
from dataengine.guard import safe_name
from dataengine.remote import Origin, Version
from dataengine.store import layout
from dataengine.store.remote_folder import Making, key_of, save, stand_in

_MOST_FILES = 1_000_000
_ADDRESS = re.compile(r"hf://(?:datasets/)?([\w.-]+/[\w.-]+?)(?:@([^?#]+))?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NOT_READ = (f"{layout.CAMERAS}/", f"{layout.OURS}/sketch-")  # of use to writers only


class HubStore(Making):
    def mounted(self) -> Path:
        found = _ADDRESS.fullmatch(self.address)
        if not found:
            raise ConfigError(f"{self.address!r} is not an address like hf://owner/name or hf://owner/name@revision")
        repo, revision = found[1], unquote(found[2] or "main")
        try:
            from huggingface_hub import HfApi, constants
            from huggingface_hub.utils import build_hf_headers
        except ImportError as error:
            raise MissingDependency("huggingface_hub", extra="hub") from error
        endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        api, scope = HfApi(endpoint=endpoint), f"{endpoint}/datasets/{repo}"
        self.name = safe_name(repo.split("/")[1])
        # Everything from here on is of one commit, wherever the branch or tag goes.
        commit = revision if _COMMIT.fullmatch(revision) else self._asked(lambda: _commit_of(api, repo, revision))
        if not _COMMIT.fullmatch(commit):
            raise StoreError(f"{self.address}: the Hub gives {commit!r} for a commit")
        origin = Origin(f"{scope}/resolve/{commit}", build_hf_headers())

        def fetch(root: Path) -> None:
            listed = self._asked(lambda: list(itertools.islice(_listed(api, repo, commit), _MOST_FILES + 1)))
            if len(listed) > _MOST_FILES:
                raise StoreError(f"{self.address} has more than {_MOST_FILES:,} files")
            sizes = {p: size for p, (size, _) in listed if p.startswith("meta/") and not p.startswith(_NOT_READ)}
            if sum(sizes.values()) > self.limit:
                raise StoreError(
                    f"{self.address}: its metadata are {sum(sizes.values()):,} bytes, more than cache_bytes"
                )
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda p: save(origin, root, p, sizes[p], Version(sizes[p], "")), sizes))
            rest = {path: entry for path, entry in listed if not path.startswith("meta/")}
            stand_in(root, rest)
            address = f"hf://{repo}@{commit}"
            self.said = {"address": address, "base": origin.base, "scope": scope, "hub": True, "files": rest}

        return self.opened(self.made(key_of(scope, commit), fetch))

    def _asked[T](self, do: Callable[[], T]) -> T:
        """What the Hub says. Raises `StoreError` for whatever its client raises."""
        import httpx
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return do()
        except (HfHubHTTPError, httpx.HTTPError, ConnectionError, ValueError) as error:
            reason = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
            raise StoreError(f"{self.address}: {reason or type(error).__name__}") from error


def _commit_of(api: Any, repo: str, revision: str) -> str:
    return str(api.repo_info(repo, repo_type="dataset", revision=revision).sha)


def _listed(api: Any, repo: str, commit: str) -> Iterable[tuple[str, tuple[int, str]]]:
    """Path, size and content hash of every file."""
    from huggingface_hub.hf_api import RepoFile

    for entry in api.list_repo_tree(repo, repo_type="dataset", revision=commit, recursive=True):
        if isinstance(entry, RepoFile):
            yield entry.path, (max(int(entry.size), 0), entry.lfs.sha256 if entry.lfs else entry.blob_id)
