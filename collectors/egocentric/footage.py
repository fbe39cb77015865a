"""What a person filmed, as a clip: upright, and with as many pictures a second all along.

A video that is so already stays what it is, and a store copies it without decoding. A phone's, which says how it is to
be turned, or one whose pictures come at uneven times, is seen through an index: at every instant of the even clock the
picture that was on the screen then. A mirrored one is shown as players show it. Sound and tags (places, devices) stay
behind.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from collectors.egocentric.upright import turns_of
from dataengine.episode import Clip, ClipOf
from dataengine.errors import SourceError, VideoError
from dataengine.video import VideoClip, probe_guarded
from dataengine.video.user_data import user_data

PHOTOS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LARGEST = 64_000_000  # pixels of one picture; 8K has half of it
RATES = (1.0, 240.0)  # [Hz]
ABOUT = 1.01  # times the highest rate: a phone's 240 is not to the digit
STILL = 60.0  # [s] one picture may be shown; beyond it a clock has jumped
UNEVEN = 0.45  # of a frame: as far as pictures may be from an even clock that is taken for theirs


class Footage(NamedTuple):
    """sha256: of the file, or of the pictures' names and bytes. notes: what had to be done to it."""

    path: Path
    clip: Clip
    sha256: str
    notes: tuple[str, ...]


def open_footage(path: Path, fps: float | None = None) -> Footage:
    """A video file, a folder of pictures, or one picture. fps: of the result; a video's own by default, else 30.

    Raises `SourceError` (of which `VideoError` is one) for what is neither, or damaged.
    """
    if fps is not None and not RATES[0] <= fps <= RATES[1]:
        raise SourceError(path, f"fps is {RATES[0]:g} to {RATES[1]:g}, not {fps:g}")
    if not path.exists():
        raise SourceError(path, "is not there")
    if path.is_dir():
        return _photos(path, _listed(path), fps or 30.0)
    return _photos(path, [path], fps or 30.0) if path.suffix.lower() in PHOTOS else _video(path, fps)


def _video(path: Path, fps: float | None) -> Footage:
    info = probe_guarded(path)
    if info.kind == "depth":
        raise VideoError(path, "holds distances, not pictures")
    if info.width * info.height > LARGEST:
        raise VideoError(path, f"has pictures of {info.width}×{info.height}; {LARGEST} pixels are the most")
    clip = VideoClip.from_file(path, fps=None if info.fps else fps or 30.0)
    times = clip.times()
    times = times - times[0]
    if (wait := np.diff(times)).max(initial=0) > STILL:
        at = float(times[int(wait.argmax())])
        raise VideoError(path, f"shows one picture for {wait.max():,.0f} s, from {at:.1f} s on", hint="cut it there")
    rate = fps or _rate(times, clip.fps)
    rate = RATES[1] if RATES[1] < rate < ABOUT * RATES[1] else rate
    if not RATES[0] <= rate <= RATES[1]:
        raise VideoError(
            path, f"shows {rate:g} pictures a second; {RATES[0]:g} to {RATES[1]:g} are read", hint="give fps"
        )
    turns, mirrored = turns_of(clip)
    notes = []
    order = np.searchsorted(times, _clock(times, rate) + 1e-6, side="right") - 1
    even = np.array_equal(order, np.arange(clip.length))
    if not even:
        skipped = clip.length - len(np.unique(order))
        notes.append(
            f"its pictures come at uneven times, or at another rate: seen at {rate:g} Hz, "
            f"{len(order) - len(np.unique(order))} shown again, {skipped} left out"
        )
    if turns or mirrored:
        how = [*(["mirrored"] if mirrored else []), *([f"turned by {90 * turns}°"] if turns else [])]
        notes.append(f"{' and '.join(how)} as the file says")
    square = None
    if info.aspect != 1:
        square = (clip.height, 2 * max(1, round(clip.width * float(info.aspect) / 2)))
        if square[0] * square[1] > LARGEST:
            raise VideoError(path, f"has pictures of {square[1]}×{square[0]} square pixels; {LARGEST} are the most")
        notes.append(f"its pixels are {info.aspect} as wide as high: pictures are made {square[1]}×{square[0]}")
    if info.others:
        notes.append(f"{info.others} further videos in the file were left out")
    if info.has_audio:
        notes.append("its sound was left out")
    if tags := _telling(info.tags):
        notes.append(f"tags of the file were left out: {', '.join(tags)}")
    clip = replace(clip, fps=rate)
    changed = not even or turns or mirrored or square
    if not changed and (hidden := user_data(path)):
        changed = True  # copied packets would carry it along
        notes.append(f"data between its pictures was left out, in {hidden} packets: it is encoded anew")
    seen: Clip = Seen(clip, tuple(order.tolist()), turns, mirrored, square) if changed else clip
    return Footage(path, seen, _sha256([path]), tuple(notes))


def _rate(times: np.ndarray, said: float) -> float:
    """The even rate of the pictures, [Hz]: what fits all of them, else the usual distance between two."""
    if len(times) < 2:
        return said
    for rate in (said, (len(times) - 1) / max(float(times[-1]), 1e-9)):
        if np.abs(times * rate - np.arange(len(times))).max() < UNEVEN:
            return rate
    usual = 1 / max(float(np.median(np.diff(times))), 1e-3)
    near = min((24, 25, 30, 50, 60, 90, 100, 120, 240), key=lambda each: abs(each - usual))
    return float(near) if abs(near - usual) < 0.02 * near else float(np.clip(round(usual, 3), *RATES))


def _clock(times: np.ndarray, rate: float) -> np.ndarray:
    """Instants `(N,)` [s] at which something is shown: half a frame after each tick, so that jitter does no harm."""
    last = float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 1 / rate)
    return (np.arange(max(1, round(last * rate))) + 0.5) / rate


_DULL = re.compile(r"^(major_brand|minor_version|compatible_brands|encoder|language|handler_name|vendor_id|duration)$")


def _telling(tags: dict[str, str]) -> list[str]:
    return sorted(name for name in tags if not _DULL.match(name.lower()))


@dataclass(frozen=True)
class Seen(ClipOf):
    """A video through an index. order: which of its pictures is shown when, never going back. turns: quarters against
    the clock. mirrored: left and right are exchanged, before it is turned. square: height and width of the pictures
    before that, where their pixels are not square."""

    source: Clip
    order: tuple[int, ...]
    turns: int = 0
    mirrored: bool = False
    square: tuple[int, int] | None = None

    @property
    def length(self) -> int:  # type: ignore[override]
        return len(self.order)

    @property
    def height(self) -> int:  # type: ignore[override]
        return self._size[self.turns % 2]

    @property
    def width(self) -> int:  # type: ignore[override]
        return self._size[1 - self.turns % 2]

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width before it is turned."""
        return self.square or (self.source.height, self.source.width)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        wanted = self.order[start:stop]
        if not wanted:
            return
        at = wanted[0]
        pictures = self.source.frames(at, wanted[-1] + 1)
        picture = next(pictures)
        for number in wanted:
            while at < number:
                picture, at = next(pictures), at + 1
            shown = picture if self.square is None else _stretched(picture, *self.square)
            shown = shown[:, ::-1] if self.mirrored else shown
            yield np.ascontiguousarray(np.rot90(shown, self.turns))

    def slice(self, start: int, stop: int) -> Seen:
        return replace(self, order=self.order[start:stop])

    @property
    def fingerprint(self) -> str:
        about = f"{self.source.fingerprint}{self.order}{self.turns}{'m' if self.mirrored else ''}{self.square or ''}"
        return hashlib.sha256(about.encode()).hexdigest()


def _stretched(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    import cv2

    smaller = width < picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Photos(Clip):
    """Picture files, one a frame, all of one size."""

    paths: tuple[Path, ...]
    fps: float
    height: int
    width: int
    kind: Literal["rgb", "depth"] = "rgb"

    @property
    def length(self) -> int:  # type: ignore[override]
        return len(self.paths)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for path in self.paths[start:stop]:
            picture = open_photo(path)
            if picture.shape[:2] != (self.height, self.width):
                found = f"{picture.shape[1]}×{picture.shape[0]}"
                raise SourceError(path, f"is {found}, the first picture {self.width}×{self.height}")
            yield picture

    def slice(self, start: int, stop: int) -> Photos:
        return replace(self, paths=self.paths[start:stop])

    @property
    def fingerprint(self) -> str:
        return _sha256(self.paths)


def _photos(path: Path, paths: list[Path], fps: float) -> Footage:
    first = open_photo(paths[0])
    clip = Photos(tuple(paths), fps, *first.shape[:2])
    return Footage(path, clip, _sha256(paths), (f"{len(paths)} pictures, taken for {fps:g} a second",))


def _listed(folder: Path) -> list[Path]:
    """Pictures of a folder in the order people count: 2 before 10."""
    root = folder.resolve()
    paths = [path for path in inside(folder) if path.suffix.lower() in PHOTOS and path.is_file()]
    paths.sort(key=_as_people_count)
    if not paths:
        raise SourceError(folder, f"holds no pictures ({', '.join(PHOTOS)})")
    for path in paths:
        if not path.resolve().is_relative_to(root):
            raise SourceError(path, "leads out of its folder")
    return paths


def inside(folder: Path) -> list[Path]:
    """What lies right inside a folder and is not hidden. Raises `SourceError`."""
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise SourceError(folder, error.strerror or str(error)) from error


def _as_people_count(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.findall(r"([0-9]+)|([^0-9]+)", path.stem.lower())
    return [(not number, int(number or 0), words) for number, words in parts]


def open_photo(path: Path) -> np.ndarray:
    """`(H, W, 3)` uint8, turned as the picture says. Raises `SourceError`."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=("JPEG", "PNG", "BMP", "WEBP")) as image:
            if image.width * image.height > LARGEST:
                raise SourceError(path, f"is {image.width}×{image.height}; {LARGEST} pixels are the most")
            if getattr(image, "is_animated", False) and image.format in ("PNG", "WEBP"):
                raise SourceError(path, f"moves, in {image.n_frames} pictures", hint="make a video of it")  # type: ignore[attr-defined]
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip at 255
                return np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[..., None], 3, 2)
            return np.asarray(upright.convert("RGB"))
    except SourceError:
        raise
    except Image.DecompressionBombError as error:
        raise SourceError(path, f"has more pixels than {LARGEST}, which are the most") from error
    except Exception as error:  # PIL raises many kinds
        raise SourceError(path, f"is no picture that can be read: {error}") from error


def _sha256(paths: list[Path] | tuple[Path, ...]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if len(paths) > 1:
            digest.update(path.name.encode() + b"\0")
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise SourceError(path, error.strerror or str(error)) from error
    return digest.hexdigest()
