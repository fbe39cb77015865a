"""Which files of a folder belong together: a video, somebody's tracks of the hands in it, and what is needed to lay one
on the other.

A sequence is a video in a folder, with its tracks beside it or further below (`mps/hand_tracking/…`). Tracks that are
named like a video (`7.hands.jsonl` and `7.mp4`) are of that one, and so is all in `mps_7_vrs`, where Project Aria's
services put what they make of `7.vrs`; others need a folder with one video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path, PurePosixPath

from converters.hand_camera import NAMES as CAMERAS
from dataengine.errors import SourceError
from dataengine.guard import read_text, regular_files

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
WAYS = ("closed_loop_trajectory.csv", "headset_trajectory.csv")
# A folder of HOT3D has both, each on a clock of its own.
WAY_OF = {"*hand_pose_trajectory.jsonl": WAYS[1], "hand_tracking_results*.csv": WAYS[0]}
# When each picture was taken: of our own making, and what Project Aria's `vrs_to_mp4 --log_folder` writes, which stands
# as `<video>_mp4_to_vrs_time_ns.csv` beside the videos of a dataset such as HD-EPIC.
VRS_CLOCK = "mp4_to_vrs_time_ns.csv"
CLOCKS = ("frame_times.csv", VRS_CLOCK)
DEEPEST = 6  # folders below the one that is given
MOST = 100_000  # files of tracks
TASK_BYTES = 4096


@dataclass(frozen=True)
class Sequence:
    """Paths below `base`, with '/' between their parts; "" for what there is not. problem: why it cannot be read."""

    base: Path
    file: str
    video: str = ""
    camera: str = ""
    way: str = ""
    clock: str = ""
    problem: str | None = None

    @property
    def task(self) -> str:
        """The first line of `<video>.txt` beside the video."""
        beside = (self.base / self.video).with_suffix(".txt")
        if not self.video or not beside.is_file() or beside.stat().st_size > TASK_BYTES:
            return ""
        return (read_text(beside, TASK_BYTES).strip().splitlines() or [""])[0].strip()


def named(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file's name without folders is one of `patterns`."""
    return any(fnmatchcase(PurePosixPath(name).name.lower(), pattern) for pattern in patterns)


def sequences(path: Path, ours: Callable[[str], bool]) -> list[Sequence]:
    """Every file of tracks that is `ours` by its name, with what belongs to it, in the order people count.

    path: a folder, or one file of tracks. Raises `SourceError`, `UnsafeSource` as `regular_files`.
    """
    base = path if path.is_dir() else path.parent
    if path.is_dir():
        names = [name for name, _ in regular_files(path) if name.count("/") <= DEEPEST]
    else:
        names = [each.name for each in path.parent.iterdir() if each.is_file()]
    tracks = [name for name in names if ours(name)] if path.is_dir() else [path.name]
    if len(tracks) > MOST:
        raise SourceError(path, f"holds {len(tracks)} files of tracks; {MOST} are the most")
    by_folder: dict[str, list[str]] = {}
    for name in names:
        by_folder.setdefault(_folder(name), []).append(name)
    taken: dict[str, str] = {}
    found = []
    for name in sorted(tracks, key=_as_people_count):
        each = _sequence(base, name, by_folder)
        if each.video in taken and each.problem is None:
            each = Sequence(base, name, problem=f"{each.video} has tracks already: {taken[each.video]}")
        taken.setdefault(each.video, name)
        found.append(each)
    return found


def unwalkable(path: Path, ours: Callable[[str], bool]) -> SourceError | None:
    """Why a folder in which a file is `ours` by its name cannot be looked through: a link that leaves it, a pipe."""
    try:
        if path.is_dir() and any(ours(each.name) for each in path.rglob("*")):
            list(regular_files(path))
    except SourceError as error:
        return error
    except OSError:
        return None
    return None


def _sequence(base: Path, name: str, by_folder: dict[str, list[str]]) -> Sequence:
    folder = _folder(name)
    videos = _videos(by_folder, folder)
    while not videos and folder:
        folder = _folder(folder)
        videos = _videos(by_folder, folder)
    own, stem = _mps(name, folder), PurePosixPath(PurePosixPath(name).stem).stem
    if own or folder == _folder(name):
        stem = own[len("mps_") : -len("_vrs")] if own else stem
        videos = [video for video in videos if PurePosixPath(video).stem == stem][:1] or videos
    if len(videos) != 1:
        why = "there is no video" if not videos else f"there are {len(videos)} videos, and none is named like it,"
        return Sequence(base, name, problem=f"{why} beside {name}")
    below = [each for inside, names in by_folder.items() if _below(inside, folder) for each in names]
    stem, beside = PurePosixPath(videos[0]).stem.lower(), by_folder.get(folder, [])
    cameras = [each for each in beside if named(each, (escape(f"{stem}.{n}") for n in CAMERAS))]
    cameras = cameras or [each for each in beside if named(each, CAMERAS)]
    clocks = [each for each in beside if named(each, (escape(f"{stem}_{VRS_CLOCK}"),))]
    clocks = clocks or sorted(each for each in below if named(each, CLOCKS))
    ways = sorted(each for each in below if named(each, WAYS))
    ways = [each for each in ways if own and _mps(each, folder) == own] or ways
    if len(ways) > 1:
        theirs = [way for pattern, way in WAY_OF.items() if named(name, (pattern,))]
        ways = [each for each in ways if named(each, theirs)] or ways
    for what, several in (("camera files", cameras), ("trajectories", ways), ("clocks of its pictures", clocks)):
        if len(several) > 1:
            return Sequence(base, name, videos[0], problem=f"has {len(several)} {what}: {', '.join(several[:3])}")
    camera, way, clock = ("".join(each[:1]) for each in (cameras, ways, clocks))
    return Sequence(base, name, videos[0], camera, way, clock)


def _videos(by_folder: dict[str, list[str]], folder: str) -> list[str]:
    return sorted(name for name in by_folder.get(folder, []) if PurePosixPath(name).suffix.lower() in VIDEOS)


def _mps(name: str, folder: str) -> str:
    """The folder `mps_<recording>_vrs` in `folder` that a file is in; "" where it is in none."""
    first, inside, _ = name[len(folder) :].lstrip("/").partition("/")
    return first if inside and fnmatchcase(first, "mps_*_vrs") else ""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _below(inside: str, folder: str) -> bool:
    return not folder or inside == folder or inside.startswith(f"{folder}/")


def _as_people_count(name: str) -> list[tuple[bool, int, str]]:
    parts = [part.split(".")[0] if n == name.count("/") else part for n, part in enumerate(name.split("/"))]
    return [(not p.isdecimal(), int(p) if p.isdecimal() and len(p) < 19 else 0, p) for p in parts]
