"""What each episode's pictures are like, kept apart so that statistics stay right when episodes go.

Statistics of numbers are taken anew from the table; those of pictures would need every video decoded. So every
commit leaves the sketches of its own episodes in `meta/dataengine/cameras/<generation>-<sha256>.arrow`, a row per
episode, camera and channel; an older engine's are Parquet. Only edits read them; rows of episodes that are gone mean
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataengine.errors import StoreError
from dataengine.guard import sha256_file
from dataengine.progress import track
from dataengine.store import files, layout, stats
from dataengine.store.picture_stats import PictureStats
from dataengine.store.store import Store

SCHEMA = pa.schema([("episode_id", pa.string()), *stats.SCHEMA])


def to_table(sketches: Mapping[str, Mapping[str, stats.Sketch]]) -> pa.Table:
    """sketches: by episode id and camera."""
    parts = [stats.to_table(found) for found in sketches.values()]
    ids = [identity for identity, part in zip(sketches, parts, strict=True) for _ in range(part.num_rows)]
    rows = pa.concat_tables([stats.SCHEMA.empty_table(), *parts])
    return rows.add_column(0, "episode_id", pa.array(ids, pa.string()))


def write(root: Path, generation: int, table: pa.Table) -> None:
    """Leave the sketches of one commit; nothing where there are no cameras."""
    if table.num_rows:
        files.put_arrow(root / layout.CAMERAS, generation, table)


def paths(root: Path) -> list[Path]:
    """In the order they were written."""
    return sorted(path for path in (root / layout.CAMERAS).glob("*") if path.suffix in (".arrow", ".parquet"))


def load(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One of the files, or some of its columns. Raises `StoreError` or what pyarrow raises if it is damaged."""
    if path.suffix == ".parquet":
        return files.read_table(path, columns)
    if not sha256_file(path).startswith(files.hash_in_name(path)):
        raise StoreError(f"{path} is not what was written; `repair` takes the statistics anew")
    table = files.read_arrow(path)
    return table if columns is None else table.select(columns)


def generation_of(path: Path) -> int | None:
    number = path.name.split("-")[0]
    return int(number) if number.isdigit() else None


def read(store: Store, ids: Collection[str]) -> pa.Table:
    """Rows of these episodes. Those that have none, from an older engine, are decoded for it."""
    parts = known(store.root, _lengths(store, ids) if store.cameras else {})
    missing = set(ids if store.cameras else ()) - {i for part in parts for i in part["episode_id"].to_pylist()}
    return pa.concat_tables([*parts, to_table({i: _decoded(store, i, store.cameras) for i in sorted(missing)})])


def known(root: Path, lengths: Mapping[str, int]) -> list[pa.Table]:
    """Rows of episodes so long, from the last file that speaks of each; none for one that is said to have more frames
    than it has: older engines added to a store's first episode what was committed with it."""
    parts, missing = [SCHEMA.empty_table()], set(lengths)
    for path in reversed(paths(root)):
        table = load(path)
        said = table["episode_id"].to_pylist()
        wrong = {i for i, n in zip(said, table["frames"].to_pylist(), strict=True) if i in missing and n > lengths[i]}
        parts.append(_those(table, np.array([i in missing and i not in wrong for i in said], bool)))
        missing -= set(said)
    return parts


def _those(table: pa.Table, wanted: np.ndarray) -> pa.Table:
    """Rows of a table; all of them are not copied."""
    return table if wanted.all() else table.filter(pa.array(wanted))


def _lengths(store: Store, ids: Collection[str]) -> dict[str, int]:
    length = store.table_of_episodes.length
    return {identity: int(length[store.index(identity)]) for identity in ids}


def sketches(table: pa.Table) -> dict[str, dict[str, stats.Sketch]]:
    """The rows of a table by episode id and camera."""
    ids = table.column("episode_id")
    return {
        identity: stats.from_table(table.filter(pc.equal(ids, identity)).drop_columns(["episode_id"]))
        for identity in ids.unique().to_pylist()
    }


def sampled(store: Store) -> bool:
    """Whether of some camera not every picture was looked at, or it is not known."""
    least: dict[str, int] = {}
    for path in paths(store.root):  # the last word counts
        table = load(path, ["episode_id", "frames"]).group_by("episode_id").aggregate([("frames", "min")])
        least |= dict(zip(table.column("episode_id").to_pylist(), table.column("frames_min").to_pylist(), strict=True))
    lengths = _lengths(store, store.ids).items()
    return bool(store.cameras) and any(least.get(identity, 0) != length for identity, length in lengths)


def counted(store: Store, ids: Collection[str]) -> pa.Table:
    """Like `read`, but of every picture: a video of which only a sample was looked at is decoded to the end."""
    found = sketches(read(store, ids))
    for identity in track(ids, total=len(ids), what="counting pictures"):
        length = int(store.table_of_episodes.length[store.index(identity)])
        some = [key for key in store.cameras if found[identity][key].frames < length]
        found[identity] |= _decoded(store, identity, some)
    return to_table(found)


def merged(table: pa.Table) -> dict[str, stats.Sketch]:
    """One sketch per camera over all rows (Chan, Golub & LeVeque 1983 for any number of parts)."""
    found: dict[str, stats.Sketch] = {}
    features = np.array(table.column("feature").to_pylist(), object)
    columns = {name: table.column(name).to_numpy() for name in ("dim", *_NUMBERS)}
    lists = {name: table.column(name).combine_chunks() for name in ("bins", "counts")}
    flat = {name: one.flatten().to_numpy() for name, one in lists.items()}
    owner = np.repeat(np.arange(len(features)), lists["bins"].value_lengths().to_numpy())
    for key in dict.fromkeys(features.tolist()):
        mine = features == key
        dims = [np.flatnonzero(mine & (columns["dim"] == d)) for d in range(int(columns["dim"][mine].max()) + 1)]
        column = {name: np.stack([columns[name][d] for d in dims], 1) for name in _NUMBERS}
        if (column["centre"] != column["centre"][0]).any():
            raise StoreError(f"the sketches of {key!r} count around different centres")
        total = column["values"].sum(0)
        mean = (column["values"] * column["mean"]).sum(0) / total
        spread = column["m2"].sum(0) + (column["values"] * (column["mean"] - mean) ** 2).sum(0)
        histograms = []
        for rows in dims:
            here = np.isin(owner, rows, assume_unique=False, kind="table")
            bins, place = np.unique(flat["bins"][here], return_inverse=True)
            counts = np.bincount(place, flat["counts"][here], len(bins)).astype(np.int64)  # exact to 2^53
            histograms.append((bins.astype(np.int32), counts))
        found[key] = stats.Sketch(
            bool(columns["grey"][mine][0]),
            column["centre"][0],
            int(column["frames"][:, 0].sum()),
            float(total[0]),
            mean,
            spread,
            column["min"].min(0),
            column["max"].max(0),
            stats.keys_of([bins for bins, _ in histograms]),
            np.concatenate([counts for _, counts in histograms]),
        )
    return found


_NUMBERS = ("values", "mean", "m2", "centre", "frames", "min", "max", "grey")


def _decoded(store: Store, identity: str, cameras: Iterable[str]) -> dict[str, stats.Sketch]:
    found = {}
    for key in cameras:
        seen = PictureStats(store.features[key])
        for frame in store.clip(store.index(identity), key).frames():
            seen.update(frame)
        found[key] = seen.sketch()
    return found
