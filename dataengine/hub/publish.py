"""Send a store to the Hub: staged, checked, described, and committed in one step.

All objects are uploaded first and one commit makes them visible, so nobody ever reads half a dataset; an
immutable tag `v3.0.N` is made before `v3.0` – the one LeRobot asks for – is moved (readers may pin either).
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataengine.errors import ConfigError, DataEngineError, Refused
from dataengine.hub.card import make_card
from dataengine.hub.croissant import make_croissant
from dataengine.hub.objects import REPO_ID
from dataengine.hub.preflight import Finding, preflight
from dataengine.store import Store, language, layout

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TRIES = 4


@dataclass(frozen=True)
class Publish:
    """Publish a store as a dataset repository.

    repo_id: owner/name. private: only the owner sees it. licence: SPDX name; the episodes' own when they agree.
    endpoint: another Hub's address (the default is the client's own). dry_run: everything but sending. columns:
    labels to write into the table for readers that know no side tables (None: language, into LeRobot's language
    columns); all labels ship beside it as well.
    """

    repo_id: str
    private: bool = True
    licence: str | None = None
    endpoint: str | None = None
    dry_run: bool = False
    columns: tuple[str, ...] | None = None
    pictures: int = 3

    name = "publish"
    version = "1"

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        """Raises `Refused` with every reason when preflight finds one; nothing has left then."""
        if not REPO_ID.fullmatch(self.repo_id):
            raise ConfigError(f"repo_id {self.repo_id!r} is not owner/name")
        try:
            report = self._publish(self.stage(store, out / "staged"))
        finally:
            shutil.rmtree(out / "staged", ignore_errors=True)
        if not self.dry_run:
            (out / "publish.json").write_text(json.dumps(report, indent=2) + "\n")
        elif not any(out.iterdir()):
            out.rmdir()
        return report

    def _publish(self, staged: Path) -> dict[str, Any]:
        """Check, describe and send a staged copy."""
        licence = self.licence or _licence_of(staged)
        findings = preflight(staged, private=self.private, licence=licence)
        if reasons := [str(f) for f in findings if f.level == "refuse"]:
            raise Refused(f"{self.repo_id} was not published:\n  " + "\n  ".join(reasons))
        self.describe(staged, licence, findings)
        findings += [f for f in preflight(staged, private=self.private, licence=licence) if f not in findings]
        if reasons := [str(f) for f in findings if f.level == "refuse"]:
            raise Refused(f"{self.repo_id} was not published, its card would leak:\n  " + "\n  ".join(reasons))
        files = sorted(p for p in staged.rglob("*") if p.is_file())
        report: dict[str, Any] = {
            "repo_id": self.repo_id,
            "private": self.private,
            "licence": licence,
            "files": len(files),
            "bytes": sum(p.stat().st_size for p in files),
            "findings": [asdict(f) for f in findings],
            "dry_run": self.dry_run,
        }
        if not self.dry_run:
            report |= self.send(staged)
        return report

    def stage(self, store: Path, staged: Path) -> Path:
        """A whole state of the store – committed files only – packed, with language in LeRobot's columns."""
        if staged.exists():
            shutil.rmtree(staged)
        staged.parent.mkdir(parents=True, exist_ok=True)
        copy = Store.open(store).snapshot(staged)
        names = self.columns if self.columns is not None else spoken(copy)
        if names:
            copy.materialize(*names)
        else:
            copy.compact()
        shutil.rmtree(staged / layout.PRIVATE, ignore_errors=True)
        return staged

    def describe(self, staged: Path, licence: str | None, findings: list[Finding]) -> None:
        store = Store.open(staged)
        card = make_card(store, self.repo_id, licence=licence, findings=findings, pictures=self.pictures)
        (staged / "README.md").write_text(card.text)
        for name, png in card.pictures.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(png)
        croissant = make_croissant(
            store, self.repo_id, f"https://huggingface.co/datasets/{self.repo_id}", licence=licence
        )
        (staged / "croissant.json").write_text(json.dumps(croissant, indent=2) + "\n")

    def send(self, staged: Path) -> dict[str, Any]:
        import httpx
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(endpoint=self.endpoint)
        try:
            with plain_uploads(api.endpoint):
                return self._send(api, staged)
        except HfHubHTTPError as error:
            raise DataEngineError(f"the Hub refused {self.repo_id}: {error}") from error
        except (OSError, httpx.HTTPError, RuntimeError) as error:  # the client wraps what ends an upload
            why = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
            hint = "readers see one whole version; run the same command again, what has arrived is not sent twice"
            raise DataEngineError(f"the Hub at {api.endpoint} cannot be reached: {why} – {hint}") from error

    def _send(self, api: HfApi, staged: Path) -> dict[str, Any]:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        url = api.create_repo(self.repo_id, repo_type="dataset", private=self.private, exist_ok=True)
        parent = api.repo_info(self.repo_id, repo_type="dataset").sha
        here = {p.relative_to(staged).as_posix(): p for p in sorted(staged.rglob("*")) if p.is_file()}
        there = {f for f in api.list_repo_files(self.repo_id, repo_type="dataset") if f != ".gitattributes"}
        additions = [CommitOperationAdd(name, path) for name, path in here.items()]
        api.preupload_lfs_files(self.repo_id, additions, repo_type="dataset", num_threads=4)
        operations = [*additions, *[CommitOperationDelete(name) for name in sorted(there - set(here))]]
        commit = _commit(api, self.repo_id, operations, parent)
        tag = _tag(api, self.repo_id, commit)
        return {"url": str(url), "commit": commit, "tags": [tag, "v3.0"]}


@contextmanager
def plain_uploads(endpoint: str) -> Iterator[None]:
    """Without the Xet protocol when the Hub is on this machine: the stand-in speaks LFS, which every Hub does."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    known = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = known or urlsplit(endpoint).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = known


def _commit(api: HfApi, repo_id: str, operations: list[Any], parent: str | None) -> str:
    """One commit on top of `parent`, or `parent` itself where it holds all of this already.

    The commit says what it holds, so that it is known again when the answer to it is lost. Raises `DataEngineError`
    when somebody else changed the repository in between.
    """
    content = _content(operations)

    def act() -> str | None:
        made = api.create_commit(
            repo_id,
            operations,
            commit_message="Publish dataset",
            commit_description=content,
            repo_type="dataset",
            parent_commit=parent,
        ).oid
        return parent if made == parent else None  # nothing has changed since: the client makes no commit

    def seen() -> str | None:
        head: str | None = None
        for commit in api.list_repo_commits(repo_id, repo_type="dataset"):
            if commit.commit_id == parent:
                break
            if content in commit.message:
                return commit.commit_id
            head = commit.commit_id
        if head is not None:
            raise DataEngineError(f"{repo_id} changed while it was published; run the same command again")
        return None

    return _settled(act, seen)


def _content(operations: list[Any]) -> str:
    """What a commit adds and removes, as one line for its description."""
    digest = hashlib.sha256()
    for each in sorted(operations, key=lambda each: each.path_in_repo):
        digest.update(f"{each.path_in_repo}\0{each.upload_info.sha256.hex() if _adds(each) else '-'}\n".encode())
    return f"content {digest.hexdigest()}"


def _adds(operation: Any) -> bool:
    return hasattr(operation, "upload_info")


def _tag(api: HfApi, repo_id: str, commit: str) -> str:
    """`v3.0.N`, N from 1 and never reused (`v3.0.0` would parse as equal to `v3.0`), then `v3.0` on the same commit.

    A commit that has a `v3.0.N` keeps it: one publish that needed two runs is one version.
    """

    def tags() -> dict[str, str]:
        return {t.name: t.target_commit for t in api.list_repo_refs(repo_id, repo_type="dataset").tags}

    def numbers(names: Iterable[str]) -> list[int]:
        return [int(match[1]) for name in names if (match := re.fullmatch(r"v3\.0\.([0-9]+)", name))]

    def make_fixed() -> None:
        number = 1 + max(numbers(tags()), default=0)
        api.create_tag(repo_id, tag=f"v3.0.{number}", revision=commit, repo_type="dataset")

    def seen_fixed() -> str | None:
        own = numbers(name for name, target in tags().items() if target == commit)
        return f"v3.0.{max(own)}" if own else None

    def move() -> None:
        if "v3.0" in tags():
            api.delete_tag(repo_id, tag="v3.0", repo_type="dataset")
        api.create_tag(repo_id, tag="v3.0", revision=commit, repo_type="dataset")

    def seen_moved() -> str | None:
        return "v3.0" if tags().get("v3.0") == commit else None

    fixed = seen_fixed() or _settled(make_fixed, seen_fixed)
    if seen_moved() is None:
        _settled(move, seen_moved)
    return fixed


def _settled(act: Callable[[], str | None], seen: Callable[[], str | None]) -> str:
    """What `act` gives or `seen` finds to be there. A lost answer may hide that it was done: the Hub is asked, and
    only what is not there is tried again. The client itself repeats neither commits nor tags."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    done = False
    for attempt in range(TRIES):
        try:
            found = None if done else act()
            done = True
            if found := found or seen():
                return found
        except (HfHubHTTPError, httpx.TransportError) as error:
            if found := seen():
                return found
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 500
            if attempt == TRIES - 1 or (status < 500 and status not in (409, 412, 429)):
                raise
        time.sleep(0.5 * 2**attempt)
    raise DataEngineError("the Hub says that it is done and does not show it; run the same command again")


def spoken(store: Store) -> list[str]:
    """The labels of a store that LeRobot's language columns can hold."""
    names = store.label_names()
    return [n for n in names if any(language.speaks(n, label) for label in store.labels(n).values())]


def _licence_of(staged: Path) -> str | None:
    licences = {episode.meta.licence for episode in Store.open(staged).episodes()}
    return licences.pop() if len(licences) == 1 else None
