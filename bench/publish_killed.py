"""Publishing killed by SIGKILL before every single request, and every answer lost: what do readers see, what is resent?

A repository holds version A; publishing version B is ended at request n, for every n. Then three readers – of every
commit, of every `v3.0.N`, of the tag that LeRobot asks for – download what they get and compare it with A and B; and
the same publish runs again. Counted are readers that saw anything else, objects that were sent twice, reruns that did
not end in exactly one commit and one number for B, and conflicts reported where there was none.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.results import record

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from hub_wire import REPO, lost_at, moving, wire
from store_made import FPS, SMALL, episode

from dataengine.hub.objects import Objects
from dataengine.hub.publish import Publish
from dataengine.hub.server import serving
from dataengine.store import Store

WRONG = ("half seen", "not completed", "sent twice", "false conflicts", "not as meant")


def make_store(folder: Path, seed: int) -> Path:
    store = Store.create(folder, fps=FPS, features=SMALL)
    with store.writer() as writer:
        for n in range(2):
            writer.append(episode(10 * seed + n, 5 + seed, SMALL))
    return folder


def publish(store: Path, address: str, log: Path, cut: Callable[[int, str], None]) -> None:
    """One whole publish in this process; every request is noted in a file before it is made."""
    with log.open("w", buffering=1) as file:

        def noted(number: int, when: str) -> None:
            cut(number, when)

        with wire(noted) as carried:
            carried.asked = _Lines(file)  # type: ignore[assignment]
            Publish(REPO, licence="mit", endpoint=address).run(store, log.parent / "out")


class _Lines:
    def __init__(self, file: Any) -> None:
        self._file = file

    def append(self, line: str) -> None:
        self._file.write(line + "\n")


def dies_at(n: int) -> Callable[[int, str], None]:
    def cut(number: int, when: str) -> None:
        if number == n:
            os.kill(os.getpid(), signal.SIGKILL)

    return cut


def forked(work: Callable[[], Any]) -> tuple[int, str]:
    """The status of a process that did `work`, and what it said last."""
    with tempfile.TemporaryFile("w+") as said:
        if (child := os.fork()) == 0:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 0
            try:
                work()
            except Exception as error:
                print(f"{type(error).__name__}: {error}")
                code = 1
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().strip()


def read_all(root: Path, address: str, known: dict[str, str]) -> None:
    """Download every commit and every tag as a stranger does. Raises for one that is neither A nor B."""
    from huggingface_hub import snapshot_download

    repo = Objects(root).get(REPO)
    assert repo is not None
    whole = [sha for sha, commit in repo.commits.items() if commit["parent"] is not None]
    for revision in {*whole, *repo.tags, moving(root)}:
        with tempfile.TemporaryDirectory() as cache:
            folder = snapshot_download(REPO, repo_type="dataset", revision=revision, endpoint=address, cache_dir=cache)
            store = Store.open(folder)
            if store.digest() not in known or store.verify().problems:
                raise RuntimeError(f"a reader of {revision} got neither version")


def warm() -> None:
    """Import what every child needs."""
    import huggingface_hub  # noqa: F401
    import PIL.ImageFont  # noqa: F401

    import dataengine.hub.card
    import dataengine.hub.preflight  # noqa: F401


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        with serving(Path(sys.argv[2])) as address:
            print(address, flush=True)
            sys.stdin.read()
        return
    warm()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.publish_killed", "serve", str(folder / "root")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        try:
            figures = measure(folder, server.stdout.readline().strip())
        finally:
            server.kill()
            server.wait()
    bad = sum(v for series in figures["series"].values() for k, v in series.items() if k != "runs")
    record("publish_killed", figures, met=not bad and not figures["failures"])


def measure(folder: Path, address: str) -> dict[str, Any]:
    root, clean, log = folder / "root", folder / "clean", folder / "requests"
    stores = {}
    for seed, version in enumerate("AB"):
        code, said = forked(lambda seed=seed, version=version: make_store(folder / version, seed))
        assert code == 0, said
        stores[version] = Store.open(folder / version).digest()
    known = {digest: version for version, digest in stores.items()}
    assert forked(lambda: publish(folder / "A", address, log, lambda n, when: None)) == (0, "")
    shutil.copytree(root, clean)
    assert forked(lambda: publish(folder / "B", address, log, lambda n, when: None)) == (0, "")
    requests = log.read_text().splitlines()
    failures: list[str] = []
    series: dict[str, dict[str, int]] = {}
    for kind, cut_at in (("killed", dies_at), ("answer lost", lost_at)):
        counts = dict.fromkeys(("runs", *WRONG), 0)
        for n, asked in enumerate(requests):
            for part in ("objects", "repos"):
                shutil.rmtree(root / part)
                shutil.copytree(clean / part, root / part)
            code, said = forked(lambda cut=cut_at(n): publish(folder / "B", address, log, cut))
            there = {p.name for p in (root / "objects").iterdir()}
            counts["runs"] += 1
            counts["not as meant"] += kind == "killed" and code != -signal.SIGKILL
            counts["false conflicts"] += bool(re.search(r"changed while|exists already|409|412", said))
            seen = forked(lambda: read_all(root, address, known))
            again, said_again = forked(lambda: publish(folder / "B", address, log, lambda n, when: None))
            twice = {line.rsplit("/", 1)[1] for line in log.read_text().splitlines() if line.startswith("PUT ")} & there
            repo = Objects(root).get(REPO)
            assert repo is not None
            once = len(repo.commits) == 3 and sorted(repo.tags) == ["v3.0", "v3.0.1", "v3.0.2"]
            once = once and repo.tags["v3.0"] == repo.tags["v3.0.2"] == repo.branches["main"]
            after = forked(lambda: read_all(root, address, known))
            counts["half seen"] += seen[0] != 0 or after[0] != 0
            counts["sent twice"] += len(twice)
            counts["not completed"] += again != 0 or not once
            if seen[0] or after[0] or again or not once or twice:
                what = f"{said} | {seen} | {said_again} | {after} | {sorted(repo.tags)}"
                failures.append(f"{kind} at {n}, {asked}: {what}")
        series[kind] = counts
    return {"requests of one publish": len(requests), "series": series, "failures": failures[:20]}


if __name__ == "__main__":
    begin = time.monotonic()
    main()
    if sys.argv[1:2] != ["serve"]:
        print(f"{time.monotonic() - begin:.0f} s")
