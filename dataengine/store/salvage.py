"""The sound episodes of any dataset into a new store: what others made is never changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from dataengine.episode import Episode, Step
from dataengine.errors import DataEngineError, StoreError
from dataengine.store import metadata
from dataengine.store.episodes import video_keys
from dataengine.store.problems import Problem
from dataengine.store.store import Store
from dataengine.store.verify import verify


@dataclass(frozen=True)
class Salvage:
    mended: tuple[str, ...]
    lost: tuple[str, ...]
    episodes: int
    frames: int


def salvage(root: Path, out: Path, *, dry_run: bool = False) -> Salvage:
    """Append every episode of `root` that is whole to a new store at `out`; every picture is decoded once to know.

    Times are written anew as frame / fps, counts and statistics from what is there. Raises `StoreError` if `out` holds
    something or nothing can be saved.
    """
    if out.exists() and any(out.iterdir()):
        raise StoreError(f"{out} is not empty; what is saved needs a folder of its own")
    report = verify(root, deep=True)
    try:
        known = metadata.read(root)
    except StoreError:
        known = metadata.as_found(root)
    source = Store(root, known)
    fatal: dict[int, list[Problem]] = defaultdict(list)
    mended = []
    for problem in report.problems:
        if problem.episode is None or problem.whole:
            mended.append(f"{problem.place}: {problem.reason}; made right in the new store")
        else:
            fatal[problem.episode].append(problem)
    lost, drop = [], set()
    for key in video_keys(source.features):
        videos = [source.table_of_episodes.video(index, key)[0] for index in range(len(source))]
        if all(any(p.place == video for p in fatal[index]) for index, video in enumerate(videos)):
            drop.add(key)
            lost.append(f"camera {key!r}: none of its videos is sound")
            for index, video in enumerate(videos):
                fatal[index] = [p for p in fatal[index] if p.place != video]
    features = {key: feature for key, feature in source.features.items() if key not in drop}
    lost += [f"episode {index}: {found[0].place}: {found[0].reason}" for index, found in sorted(fatal.items()) if found]
    sound = [index for index in range(len(source)) if not fatal[index]]
    if not sound or not features:
        raise StoreError(f"{root}: no episode can be saved; {lost[0] if lost else 'it has none'}")
    if dry_run:
        lengths = source.table_of_episodes.length
        return Salvage(tuple(mended), tuple(lost), len(sound), int(lengths[sound].sum()))
    assumed = tuple(f"{p.reason} was put right" for p in report.problems if p.whole)
    store = Store.create(
        out, fps=source.fps, features=features, embodiment=source.embodiment, licence=source.licence, codec=source.codec
    )
    left = Store(root, replace(known, features=features))
    step = Step("repair", "1", {"dropped": sorted(drop)}, assumed)
    with store.writer() as writer:
        for index in sound:
            try:
                writer.append(_known(left, index, step))
            except DataEngineError as error:
                lost.append(f"episode {index}: {error}")
    if not len(store):
        raise StoreError(f"{root}: no episode can be saved; {lost[-1]}")
    if source.languages:
        store.materialize()
    return Salvage(tuple(mended), tuple(lost), len(store), store.frames)


def _known(source: Store, index: int, step: Step) -> Episode:
    """An episode that says where it comes from."""
    whole = source[index]
    origin = whole.meta.source or {"format": "lerobot_v3", "name": source.root.name, "episode": index}
    return whole.with_meta(source=origin).with_step(step)
