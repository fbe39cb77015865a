"""Is the store what it says? Every check LeRobot leaves out, in three depths.

quick: metadata by their hashes, everything else by what is there and what its head says. Plain: every byte. deep:
every picture decoded as well. Works on foreign datasets too. A problem names the file, the episode, what would have
been right and what a loader would have read; checks go on after the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataengine.errors import DataEngineError, StoreError
from dataengine.progress import track
from dataengine.store import files, labels, layout, metadata, verify_files
from dataengine.store.commit import Commit
from dataengine.store.digest import digest
from dataengine.store.episodes import video_keys
from dataengine.store.problems import Problem, VerifyReport
from dataengine.store.store import Store
from dataengine.store.verify_files import FAILS, UNREADABLE, Files
from dataengine.store.verify_rows import Rows
from dataengine.store.verify_videos import Videos

FOREIGN = "not made by this engine: without checksums, a changed value may go unseen"


def verify(root: str | Path, *, deep: bool = False, quick: bool = False) -> VerifyReport:
    """Check row counts, ranges, order, finite values, videos against rows, checksums, statistics and labels.

    Raises `StoreError` if there is nothing that could be a dataset.
    """
    root = Path(root)
    for _ in range(3):
        before = _generation(root)
        report = _verify(root, deep, quick and not deep)
        if report.ok or _generation(root) == before:
            break  # else a writer has been at it meanwhile
    return report


def _generation(root: Path) -> int | None:
    commit, _ = verify_files.commit_record(root)
    return commit.generation if commit else None


def _verify(root: Path, deep: bool, quick: bool) -> VerifyReport:
    found = Files(root)
    commit, problems = verify_files.commit_record(root)
    notes = [] if commit else [FOREIGN]
    found.seen |= {layout.COMMIT} if commit or problems else set()
    if commit:
        problems += verify_files.metadata(found, commit)
    store, trouble = _opened(root, commit)
    problems += trouble if not (problems and commit) else ()  # what is damaged is named already
    if store is None:
        notes.append("rows, videos and labels were not looked at, since the metadata cannot be read")
        return VerifyReport(tuple(problems), 0, 0, len(found.seen), None, deep, tuple(notes), "metadata")
    rows, videos = Rows(store, found), Videos(store, found)
    problems += _table(store) if commit else [*_table(store), *_info(store)]
    for index in track(range(len(store)), total=len(store), what="verifying episodes"):
        problems += _quick(store, rows, index) if quick else rows.check(index)
        problems += videos.check(index, deep=deep, quick=quick)
    problems += verify_files.strays(root, {*_named(store)}, store.commit)
    problems += _labels(store, found, quick)
    lengths = dict(zip(store.ids, store.table_of_episodes.length.tolist(), strict=True))
    if store.cameras and commit and (missing := verify_files.coverage(root, lengths)):
        problems.append(Problem("missing", layout.CAMERAS, missing, read="an edit decodes their videos for it"))
    problems += verify_files.history(found, commit.edits if commit else (), quick)
    under_way = commit is not None and verify_files.under_way(root, layout.STATS, commit.sha256[layout.STATS])
    if not quick and len(store) and rows.whole and layout.STATS not in found.bad and not under_way:
        problems += rows.statistics()
        notes += rows.quantile_notes() if commit is None else ()
    whole = None if problems or quick else digest(store)
    checked, trusted = _scope(store, found, deep, quick)
    return VerifyReport(
        tuple(problems), len(store), store.frames, len(found.seen), whole, deep, tuple(notes), checked, trusted
    )


def _opened(root: Path, commit: Commit | None) -> tuple[Store | None, list[Problem]]:
    """The store as far as it can be read, and what is in the way."""
    try:
        return Store(root), []
    except UNREADABLE as error:
        if commit is None and (not isinstance(error, StoreError) or not (root / layout.EPISODES).exists()):
            raise
        problem = Problem(*_told(root, error), read=FAILS if commit is None else "this engine cannot open it")
    if commit is not None:
        return None, [problem]
    ours = (root / layout.COMMIT).exists()
    try:
        return Store(root, metadata.as_found(root)), [] if ours else [problem]
    except DataEngineError as error:
        return None, [Problem(*_told(root, error), read=FAILS)]


def _told(root: Path, error: Exception) -> tuple[str, str, str]:
    """kind, place and reason of an error about the metadata."""
    text = str(error)
    for place in (layout.TASKS, layout.EPISODES, layout.FEATURES):
        if str(root / place) in text:
            at = text.index(str(root / place))
            name, _, reason = text[at:].removeprefix(f"{root}/").partition(" ")
            kind = "count" if "counted" in reason or "counts" in reason else "damaged"
            return kind, name.rstrip(":"), reason
    return "damaged", layout.INFO, text.removeprefix(f"{root / layout.INFO}: ")


def _table(store: Store) -> Iterator[Problem]:
    table = store.table_of_episodes
    begin = np.concatenate([[0], table.stop[:-1]]) if len(table) else np.zeros(0)
    for name, bad in {
        "dataset_from_index": table.start != begin if len(table) else np.zeros(0, bool),
        "dataset_to_index": table.stop - table.start != table.length if len(table) else np.zeros(0, bool),
    }.items():
        for index in np.flatnonzero(bad)[:10]:
            told = f"{name} does not continue the episode before"
            yield Problem("order", layout.EPISODES, told, int(index), "LeRobot reads rows of another episode")
    if store.frames != store.info["total_frames"]:
        told = f"total_frames is {store.info['total_frames']}, the episodes have {store.frames}"
        yield Problem("count", layout.INFO, told, read="LeRobot's length is wrong: it fails at the end, or stops early")


def _info(store: Store) -> Iterator[Problem]:
    """Counts of a foreign info.json against what is there."""
    info = store.info
    if (rows := metadata.rows_of_episodes(store.root)) > len(store):
        told = f"total_episodes is {len(store)}, meta/episodes has {rows} rows"
        yield Problem("count", layout.INFO, told, read="LeRobot reads rows of episodes that it does not count")
    try:
        known = len(metadata.tasks.read(store.root))
    except StoreError:
        known = len(store.tasks)
    if not known and len(store):
        yield Problem("missing", layout.TASKS, "is missing or empty", read=FAILS)
    elif isinstance(info.get("total_tasks"), int) and info["total_tasks"] != known:
        told = f"total_tasks is {info['total_tasks']}, meta/tasks.parquet has {known}"
        yield Problem("count", layout.INFO, told, read="LeRobot follows meta/tasks.parquet")
    if not (store.root / layout.STATS).exists():
        yield Problem("missing", layout.STATS, "is missing", read="LeRobot opens it, training cannot normalise")
    for name, span in (info.get("splits") or {}).items():
        _, _, stop = str(span).partition(":")
        if stop.isdigit() and int(stop) > len(store):
            told = f"the split {name!r} is {span}, there are {len(store)} episodes"
            yield Problem("count", layout.INFO, told, read="who follows the split asks for episodes that are not there")


def _quick(store: Store, rows: Rows, index: int) -> Iterator[Problem]:
    """A data file by its footer."""
    relative, _ = store.table_of_episodes.data(index)
    if relative in rows.found.seen:
        return
    try:
        rows.found.seen.add(relative)
        if not (store.root / relative).is_file():
            told = f"the data file {verify_files.absent(store.root / relative)}"
            yield Problem("missing", relative, told, index, FAILS)
            return
        yield from rows.head(relative, index)
    except UNREADABLE as error:
        yield Problem("damaged", relative, f"its footer cannot be read: {error}", index, FAILS)


def _named(store: Store) -> Iterator[str]:
    table = store.table_of_episodes
    yield from (table.data(index)[0] for index in range(len(store)))
    if store.commit:
        yield from (path for path, _ in store.commit.episode_files)
    else:
        found = (store.root / layout.EPISODES).glob("*/*.parquet")
        yield from (path.relative_to(store.root).as_posix() for path in found)


def _labels(store: Store, found: Files, quick: bool) -> Iterator[Problem]:
    for name in labels.names(store.root):
        for path in sorted((store.root / layout.LABELS / name).glob("*.parquet")):
            relative = path.relative_to(store.root).as_posix()
            read = f"LeRobot reads no labels; the label {name!r} of its episodes is lost or wrong"
            if not quick and path.exists():
                yield from found.check(relative, files.hash_in_name(path), lambda read=read: read)  # type: ignore[misc]
            if relative in found.bad:
                continue
            try:
                for identity, entry in labels.index_file(path).items():
                    if identity in store.table_of_episodes.place and not quick:
                        length = int(store.table_of_episodes.length[store.index(identity)])
                        labels.check(identity, length, name, labels.read(entry))
            except FileNotFoundError:
                continue  # replaced by another process meanwhile
            except UNREADABLE as error:
                found.bad.add(relative)
                yield Problem("labels", relative, str(error).removeprefix(f"{path} "), read=read)


def _scope(store: Store, found: Files, deep: bool, quick: bool) -> tuple[str, str]:
    """What was looked at, and what was taken for true."""
    data = {store.table_of_episodes.data(index)[0] for index in range(len(store))}
    shown = {store.table_of_episodes.video(i, key)[0] for key in video_keys(store.features) for i in range(len(store))}
    said = [path for name in labels.names(store.root) for path in (store.root / layout.LABELS / name).glob("*.parquet")]
    bodies = [store.root / name for name in (*data, *shown)] + said
    size = sum(path.stat().st_size for path in bodies if path.exists()) / 1e6
    what = f"{len(data)} data files, {len(shown)} videos, {len(said)} label files"
    hashed = "metadata by sha256" if store.commit else "metadata, which has no checksums"
    if quick:
        trusted = f"the bodies of {what} ({size:.1f} MB), statistics and kept versions; without --quick they are read"
        return f"{hashed}; {what}: there, with readable heads and the right counts", trusted
    by = "by sha256, rows and packets" if store.commit else "by rows, times and packets"
    kept = sum(name.endswith(layout.COMMIT) for name in found.seen) - 1
    history = f", {kept} kept versions" if kept > 0 else ""
    checked = f"{hashed}; {what} ({size:.1f} MB) {by}; statistics{history}"
    if deep:
        return f"{checked}; every picture decoded", "" if store.commit else "values that are possible but never were"
    return checked, "that pictures decode; --deep tries"
