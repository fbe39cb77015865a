"""Publishing that ends at any request: readers see one whole version, and the same command completes it.

`bench/publish_killed.py` does the same with processes that SIGKILL ends, and reads what is there as a stranger would.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_wire import REPO, Killed, content_of, killed_at, lost_at, moving, wire
from store_made import FPS, SMALL, episode

from dataengine.errors import DataEngineError
from dataengine.guard import sha256_file
from dataengine.hub.objects import Objects
from dataengine.hub.publish import Publish
from dataengine.hub.server import serving
from dataengine.store import Store

FEATURES = {key: SMALL[key] for key in ("observation.state", "action")}


@dataclass
class Hub:
    """A server whose repository holds version A, and a staged version B."""

    root: Path
    clean: Path
    address: str
    old: dict[str, str]
    new: dict[str, str]
    staged: Path

    def reset(self) -> None:
        for folder in ("objects", "repos"):
            shutil.rmtree(self.root / folder)
            shutil.copytree(self.clean / folder, self.root / folder)

    def publish(self) -> None:
        Publish(REPO, endpoint=self.address).send(self.staged)


def staged(folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a publish sends, kept."""
    store = Store.create(folder / "store", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        writer.append(episode(seed, 4 + seed, FEATURES))
    kept = folder / "kept"
    with monkeypatch.context() as patch:
        patch.setattr(Publish, "send", lambda self, path: {"kept": str(shutil.copytree(path, kept))})
        Publish(REPO, licence="mit").run(folder / "store", folder / "out")
    return kept


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    patch = pytest.MonkeyPatch()
    first, second = (staged(folder / str(seed), seed, patch) for seed in (1, 2))
    patch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.01)))
    root = folder / "root"
    with serving(root) as address:
        Publish(REPO, endpoint=address).send(first)
        shutil.copytree(root, folder / "clean")
        yield Hub(root, folder / "clean", address, hashes(first), hashes(second), second)
    patch.undo()


def hashes(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def requests(hub: Hub) -> list[str]:
    """All that one undisturbed publish asks."""
    hub.reset()
    with wire() as carried:
        hub.publish()
    return carried.asked


def is_whole(hub: Hub, said: str) -> None:
    """What readers of any kind see now is one of the two versions."""
    repo = Objects(hub.root).get(REPO)
    assert repo is not None
    assert content_of(hub.root, "v3.0.1") == hub.old, said
    for revision in ("main", moving(hub.root), *repo.tags, *repo.commits):
        held = content_of(hub.root, revision)
        assert held in (hub.old, hub.new, {}), f"{said}: {revision} is half of one"
        assert held or revision == repo_start(hub), f"{said}: {revision} is empty"


def repo_start(hub: Hub) -> str:
    """The empty commit a repository begins with."""
    repo = Objects(hub.root).get(REPO)
    assert repo is not None
    return next(sha for sha, commit in repo.commits.items() if commit["parent"] is None)


def is_complete(hub: Hub, said: str) -> None:
    """Version B stands there once: one commit, one number, and the tag that moves."""
    repo = Objects(hub.root).get(REPO)
    assert repo is not None
    assert {revision: content_of(hub.root, revision) == hub.new for revision in repo.tags} == {
        "v3.0.1": False,
        "v3.0.2": True,
        "v3.0": True,
    }, said
    assert len(repo.commits) == 3, said
    assert repo.tags["v3.0.2"] == repo.tags["v3.0"] == repo.branches["main"], said


def disturbed(hub: Hub, cut: Callable[[int, str], None], said: str) -> None:
    """A publish that is cut, and the same one again: what was put is not put again."""
    hub.reset()
    with wire(cut) as first, suppress(Killed, DataEngineError):
        hub.publish()
    is_whole(hub, said)
    there = set(map(Path, (hub.root / "objects").iterdir()))
    with wire() as second:
        hub.publish()
    is_complete(hub, said)
    again = {asked.rsplit("/", 1)[1] for asked in second.asked if asked.startswith("PUT ")}
    assert not again & {path.name for path in there}, f"{said}: {first.asked[-1]}: an object was sent twice"


def test_a_publish_that_dies_before_any_request_leaves_whole_versions(hub: Hub, requests: list[str]) -> None:
    assert any(asked.startswith("PUT ") for asked in requests) and len(requests) > 12
    for n, asked in enumerate(requests):
        disturbed(hub, killed_at(n), f"killed before {asked}")


def test_an_answer_that_is_lost_is_no_conflict(hub: Hub, requests: list[str]) -> None:
    for n, asked in enumerate(requests):
        disturbed(hub, lost_at(n), f"the answer to {asked} was lost")


@pytest.mark.parametrize("what", ["/commit/main", "/tag/"])
def test_what_the_server_did_is_known_again_without_a_second_run(hub: Hub, requests: list[str], what: str) -> None:
    """The client repeats neither commits nor tags: it is asked what became of them."""
    for n, asked in enumerate(requests):
        if what in asked:
            hub.reset()
            with wire(lost_at(n)):
                hub.publish()
            is_complete(hub, f"the answer to {asked} was lost")


def test_somebody_elses_commit_is_a_conflict_and_is_not_tagged(hub: Hub, requests: list[str]) -> None:
    """Between the look at the repository and our commit another one is made, of the same title."""
    at = next(n for n, asked in enumerate(requests) if "/commit/" in asked)

    def cut(number: int, when: str) -> None:
        if (number, when) == (at, "before"):
            objects = Objects(hub.root)
            repo = objects.get(REPO)
            assert repo is not None
            objects.commit(repo, "main", {}, ["README.md"], "Publish dataset", None)

    hub.reset()
    with wire(cut), pytest.raises(DataEngineError, match="changed while it was published; run the same command again"):
        hub.publish()
    repo = Objects(hub.root).get(REPO)
    assert repo is not None and set(repo.tags) == {"v3.0.1", "v3.0"}
    hub.publish()
    assert content_of(hub.root, "v3.0") == content_of(hub.root, "v3.0.2") == hub.new


def test_a_number_that_somebody_else_took_is_left_to_them(hub: Hub, requests: list[str]) -> None:
    at = next(n for n, asked in enumerate(requests) if "/tag/" in asked)

    def cut(number: int, when: str) -> None:
        if (number, when) == (at, "before"):
            objects = Objects(hub.root)
            repo = objects.get(REPO)
            assert repo is not None
            repo.tags["v3.0.2"] = repo_start(hub)
            objects.save(repo)

    hub.reset()
    with wire(cut):
        hub.publish()
    assert content_of(hub.root, "v3.0.2") == {} and content_of(hub.root, "v3.0.3") == hub.new


def test_the_same_content_again_is_the_same_version(hub: Hub) -> None:
    hub.reset()
    for _ in range(2):
        hub.publish()
    is_complete(hub, "published twice")
