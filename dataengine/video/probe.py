"""What a video file is, found out by demuxing all of it and decoding one picture."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from av import VideoFormat

from dataengine.errors import SourceError, VideoError
from dataengine.guard import run_guarded
from dataengine.remote import is_remote
from dataengine.video.codec import Codec
from dataengine.video.container import FileKey, file_key
from dataengine.video.depth import DepthCoding
from dataengine.video.index import PacketIndex
from dataengine.video.reader import borrowed


@dataclass(frozen=True)
class VideoInfo:
    """A video file. codec: h264, av1, hevc, mpeg4, …. fps: exact where `constant`, else the average. frames: shown
    ones. kind: "depth" for grey of more than 8 bits. extradata_sha: over the codec's parameters, those inside the
    stream included; files are joined only when it is equal. rotation: degrees a player turns the picture; decoding
    does not. aspect: width of a pixel over its height. others: films in the file that are not read. tags: what else the
    container says (may name places, people, devices; never copied). reencoded: how many frames the call that made this
    file had to encode anew. digest: `digest_of` its packets, where they were noted when it was encoded; then it has no
    tags.
    """

    codec: str
    pix_fmt: str
    width: int
    height: int
    fps: Fraction
    frames: int
    has_audio: bool
    kind: Literal["rgb", "depth"]
    extradata_sha: str
    tags: dict[str, str] = field(default_factory=dict)
    constant: bool = True
    reordered: bool = False
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    others: int = 0
    size: int = 0
    reencoded: int = 0
    digest: str = field(default="", compare=False)


def probe(path: str | Path, *, decode: bool = False) -> VideoInfo:
    """Look at a file in this process: for files of our own. Others go through `probe_guarded` first.

    decode: every frame, not only the first. Raises `VideoError`.
    """
    with borrowed(path) as reader:
        index, coding, rotation = reader.index, reader.index.coding, 0
        for n, picture in enumerate(reader.pictures(0, len(index) if decode else 1)):
            if (picture.width, picture.height) != (coding.width, coding.height):
                size = f"{picture.width}×{picture.height}, not {coding.width}×{coding.height}"
                raise VideoError(path, f"frame {n} is {size}")
            rotation = int(picture.rotation)
        found = {name: getattr(reader, name) for name in ("tags", "has_audio", "aspect", "others")}
    return replace(info_of(index), rotation=rotation, **found)


def info_of(index: PacketIndex) -> VideoInfo:
    """What the index of a file says about it; without sound, tags, rotation, aspect and others."""
    rate, coding = index.rate(), index.coding
    deep = coding.pix_fmt.startswith("gray") and VideoFormat(coding.pix_fmt).components[0].bits > 8
    return VideoInfo(
        codec=coding.codec,
        pix_fmt=coding.pix_fmt,
        width=coding.width,
        height=coding.height,
        fps=rate or coding.average_rate,
        frames=len(index),
        has_audio=False,
        kind="depth" if deep else "rgb",
        extradata_sha=index.extradata_sha,
        constant=rate is not None,
        reordered=index.reordered,
        size=index.size,
    )


_FETCHING = 300  # seconds that a slow server may take for the header of a video
_seen: OrderedDict[FileKey, VideoInfo] = OrderedDict()


def probe_guarded(path: str | Path, *, decode: bool = False, memory: int = 2 << 30) -> VideoInfo:
    """`probe` for a file from outside, in the guarded process, once per file.

    A converter calls it when it plans; what passes is demuxed to the end and gives a picture, and may then be
    read in this process. decode: every frame too, which no damage survives that a decoder can notice.
    Raises `VideoError`, also when reading the file crashes, hangs or takes more than `memory` bytes.
    """
    key = file_key(path)
    if key in _seen and not decode:
        return _seen[key]
    megabytes = key[2] >> 20
    try:
        seconds = 30 + megabytes * (10 if decode else 1) + (_FETCHING if is_remote(path) else 0)
        info = run_guarded(_probe, Path(path), decode, seconds=seconds, memory=memory)
    except VideoError:
        raise
    except SourceError as error:
        raise VideoError(error.path, error.reason, hint=error.hint) from error
    _seen[key] = info
    while len(_seen) > 4096:
        _seen.popitem(last=False)
    return info


def _probe(path: Path, decode: bool) -> VideoInfo:
    return probe(path, decode=decode)


def lerobot_info(info: VideoInfo, codec: Codec | None = None, depth: DepthCoding | None = None) -> dict[str, Any]:
    """The `info` block that LeRobot 0.6 keeps with a video feature.

    codec: the settings, where the file was encoded with them and not copied. depth: of a depth camera.
    """
    rate = info.fps
    found: dict[str, Any] = {
        "video.height": info.height,
        "video.width": info.width,
        "video.codec": info.codec,
        "video.pix_fmt": info.pix_fmt,
        "video.fps": int(rate) if rate.denominator == 1 else float(rate),
        "video.channels": len(VideoFormat(info.pix_fmt).components),
        "has_audio": info.has_audio,
    }
    if codec is not None:
        found |= {
            "video.g": codec.gop,
            "video.crf": codec.quality,
            "video.preset": codec.options()["preset"],
            "video.fast_decode": 0,
            "video.video_backend": "pyav",
            "video.extra_options": {"x265-params": "lossless=1"} if codec.name == "hevc" and codec.lossless else {},
        }
    return found | ({"is_depth_map": False} if depth is None else depth.to_info())
