"""Looking at what came over the wire, in the guarded process: out of a stranger's files our own code seals a shard.

Nothing is taken over as it is. The table is read column by column into the declared types; of every video the packets
are copied into a new file (no tags, no sound), all frames decoded and counted, statistics taken of them; labels are
read and written anew. What then is not the content that was offered is refused.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from collectors.fleet.content import content_hash, pixel_hash
from collectors.fleet.offer import Offer
from dataengine.episode import Clip, Episode, Feature, Label
from dataengine.errors import DataEngineError, EpisodeError, MachineError, SourceError
from dataengine.guard import sha256_file
from dataengine.store import files, labels
from dataengine.store.picture_stats import PictureStats
from dataengine.store.pictures import PictureClip
from dataengine.store.schema import arrow_type, differences, is_depth, to_numpy
from dataengine.store.shard import TASK, Written, seal
from dataengine.video import Codec, DepthCoding, VideoClip, close_readers, remux

FULL = (errno.ENOSPC, errno.EDQUOT)


class Damaged(DataEngineError):
    """Files whose bytes are not those that were offered, by their sha256."""

    def __init__(self, *blobs: str) -> None:
        super().__init__(f"{len(blobs)} files came damaged")
        self.blobs = blobs

    def __reduce__(self) -> tuple:
        return (Damaged, self.blobs)


def check(folder: Path, offer: Offer, features: Mapping[str, Feature], codec: Codec, fps: float, out: Path) -> None:
    """Seal what lies in `folder` into `out`, for a store of these features.

    Raises `EpisodeError` for what is refused, `Damaged` for what should be sent again, `MachineError` for a full disk.
    """
    try:
        if damaged := [name for name in offer.blobs if sha256_file(folder / name) != name]:
            raise Damaged(*damaged)
        _check_fit(offer, features, fps)
        _seal(folder, offer, features, codec, out)
    except OSError as error:
        if error.errno in FULL:
            raise MachineError(f"the service's disk is full ({error.strerror})") from error
        raise
    except (EpisodeError, Damaged):
        raise
    except DataEngineError as error:  # said without where it lies on this machine
        reason = error.reason if isinstance(error, SourceError) else str(error).replace(f"{folder}/", "")
        raise EpisodeError(offer.episode_id, reason) from error
    finally:
        close_readers()


def _check_fit(offer: Offer, features: Mapping[str, Feature], fps: float) -> None:
    identity = offer.episode_id
    if abs(offer.fps - fps) > 1e-6 * fps:
        raise EpisodeError(identity, f"it has {offer.fps:g} frames a second, the store {fps:g}")
    own = {key: feature for key, feature in features.items() if not key.startswith("label.") or key in offer.features}
    found = differences(own, offer.features)
    for key in own.keys() & offer.features.keys() if not found else ():
        have, want = offer.features[key], own[key]
        if have.dtype != want.dtype:
            found.append(f"{key}: kept as {have.dtype}, in the store as {want.dtype}")
        elif want.is_camera and DepthCoding.from_info(have.info) != DepthCoding.from_info(want.info):
            found.append(f"{key}: its depth is coded otherwise")
    if found:
        raise EpisodeError(identity, "its features are not the store's: " + "; ".join(found))


def _seal(folder: Path, offer: Offer, features: Mapping[str, Feature], codec: Codec, out: Path) -> None:
    work = out.with_name(f"{out.name}.parts")
    work.mkdir(parents=True)
    try:
        table = _table(folder / offer.data.sha256, offer)
        columns = {
            key: to_numpy(table.column(key), feature, repr(key))
            for key, feature in offer.features.items()
            if not feature.is_camera
        }
        pictures = _pictures(table, offer, work)
        videos = {
            key: _video(folder / blob.sha256, offer, key, features[key], work / f"{number}.mp4")
            for number, (key, blob) in enumerate(offer.videos.items())
        }
        episode = Episode(
            offer.episode_id,
            offer.fps,
            dict(offer.features),
            columns,
            {key: video.clip for key, video in videos.items()} | pictures,
            {name: _label(folder / blob.sha256, offer, name) for name, blob in offer.labels.items()},
            offer.meta,
            to_numpy(table.column(TASK), Feature("int64", (1,)), TASK),
        )
        shown = {key: pixel_hash(clip) for key, clip in pictures.items()}
        shard = seal(episode, out, features=features, codec=codec, written=videos)
        shown |= {key: str(entry["packets"]) for key, entry in shard.manifest["videos"].items()}
        if content_hash(offer.fps, columns, shown) != offer.content:
            files.remove(out)
            raise EpisodeError(offer.episode_id, "its frames are not those it was offered with")
    finally:
        files.remove(work)


def _table(path: Path, offer: Offer) -> pa.Table:
    table = files.read_arrow(path)
    want = {key: arrow_type(feature) for key, feature in offer.features.items() if feature.dtype != "video"}
    want[TASK] = pa.int64()
    have = {field.name: field.type for field in table.schema}
    if len(have) != len(table.schema) or have != want:
        names = sorted(key for key in want.keys() | have.keys() if want.get(key) != have.get(key))
        raise EpisodeError(offer.episode_id, f"its table lacks, or has of another type: {', '.join(names) or 'names'}")
    if table.num_rows != offer.length:
        raise EpisodeError(offer.episode_id, f"its table has {table.num_rows} rows, {offer.length} were offered")
    try:
        table.validate(full=True)
    except pa.ArrowException as error:
        raise EpisodeError(offer.episode_id, f"its table is damaged: {error}") from error
    return table


def _pictures(table: pa.Table, offer: Offer, work: Path) -> dict[str, Clip]:
    """Cameras that are kept in the table."""
    keys = [key for key, feature in offer.features.items() if feature.dtype == "image"]
    if not keys:
        return {}
    path = work / "pictures.parquet"
    files.write_table(path, table.select(keys), durable=False)
    return {
        key: PictureClip(path, key, 0, offer.length, offer.fps, feature.shape[0], feature.shape[1])
        for key, feature in offer.features.items()
        if key in keys and not is_depth(feature)
    }


def _video(source: Path, offer: Offer, key: str, feature: Feature, target: Path) -> Written:
    """A clean copy of a camera's file, every frame of it seen."""
    depth = DepthCoding.from_info(feature.info)
    clip = VideoClip.from_file(source, fps=offer.fps, depth=depth, trusted=True)
    if clip.length != offer.length:
        raise EpisodeError(offer.episode_id, f"its video has {clip.length} frames, not {offer.length}", feature=key)
    if (clip.height, clip.width) != feature.shape[:2]:
        size = f"{clip.height}×{clip.width}, not {feature.shape[0]}×{feature.shape[1]}"
        raise EpisodeError(offer.episode_id, f"its pictures are {size}", feature=key)
    info = remux(clip, target)
    copy = VideoClip(target, 0, offer.length, offer.fps, clip.height, clip.width, clip.kind, depth)
    seen = PictureStats(feature)
    with closing(copy.frames()) as frames:  # type: ignore[type-var]
        for frame in frames:
            seen.update(frame)
    if seen.frames != offer.length:
        raise EpisodeError(offer.episode_id, f"{seen.frames} of {offer.length} frames can be shown", feature=key)
    return Written.of(copy, info, seen.sketch())


def _label(path: Path, offer: Offer, name: str) -> Label:
    entries = labels.index_file(path)
    if list(entries) != [offer.episode_id]:
        raise EpisodeError(offer.episode_id, f"label {name!r} is about other episodes")
    label = labels.read(entries[offer.episode_id])
    label.table.validate(full=True)
    for column in {"span": ("start", "stop"), "event": ("frame",)}.get(label.kind, ()):
        _check_places(offer, name, label.table, column)
    labels.check(offer.episode_id, offer.length, name, label)
    if not isinstance(label.source, dict):
        raise EpisodeError(offer.episode_id, f"label {name!r} does not say where it is from")
    return label


def _check_places(offer: Offer, name: str, table: pa.Table, column: str) -> None:
    given: Any = table.column(column) if column in table.column_names else None
    if given is None or given.null_count or not pa.types.is_integer(given.type) or np.ndim(given) != 1:
        raise EpisodeError(offer.episode_id, f"label {name!r} needs whole numbers in {column!r}")
