"""Send a store to the Hub: staged, checked, described, and committed in one step.

All objects are uploaded first and one commit makes them visible, so nobody ever reads half a dataset; an
immutable tag `v3.0.N` is made before `v3.0` – the one LeRobot asks for – is moved (readers may pin either).
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
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
            hint = "nothing is visible there; run the same command again, what has arrived is not sent twice"
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
    """One commit on top of `parent`. The client does not retry a commit, and a lost answer may hide a made one."""
    from huggingface_hub.errors import HfHubHTTPError

    message = "Publish dataset"
    for attempt in range(TRIES):
        try:
            return api.create_commit(
                repo_id, operations, commit_message=message, repo_type="dataset", parent_commit=parent
            ).oid
        except HfHubHTTPError as error:
            status = error.response.status_code
            head = api.list_repo_commits(repo_id, repo_type="dataset")
            if status >= 500 and head[0].title == message and len(head) > 1 and head[1].commit_id == parent:
                return head[0].commit_id
            if status == 412:
                raise DataEngineError(
                    f"{repo_id} changed while it was published; run the same command again"
                ) from error
            if status < 500 or attempt == TRIES - 1:
                raise
            for operation in operations:
                operation._is_committed = False
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def _tag(api: HfApi, repo_id: str, commit: str) -> str:
    """`v3.0.N`, N from 1 and never reused (`v3.0.0` would parse as equal to `v3.0`), then `v3.0` on the same commit."""
    tags = {t.name for t in api.list_repo_refs(repo_id, repo_type="dataset").tags}
    number = 1 + max(
        (int(t.split(".")[2]) for t in tags if t.startswith("v3.0.") and t.split(".")[2].isdigit()), default=0
    )
    fixed = f"v3.0.{number}"
    api.create_tag(repo_id, tag=fixed, revision=commit, repo_type="dataset")
    if "v3.0" in tags:
        api.delete_tag(repo_id, tag="v3.0", repo_type="dataset")
    api.create_tag(repo_id, tag="v3.0", revision=commit, repo_type="dataset")
    return fixed


def spoken(store: Store) -> list[str]:
    """The labels of a store that LeRobot's language columns can hold."""
    names = store.label_names()
    return [n for n in names if any(language.speaks(n, label) for label in store.labels(n).values())]


def _licence_of(staged: Path) -> str | None:
    licences = {episode.meta.licence for episode in Store.open(staged).episodes()}
    return licences.pop() if len(licences) == 1 else None
