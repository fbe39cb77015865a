"""How pictures become bytes: the choice of a codec and its settings.

The default is h264 `superfast`, crf 23, a keyframe every 24 frames, without what makes decoding dear. `bench/codecs.py`
compares it with other settings and with LeRobot's default (AV1 preset 12, crf 30, a keyframe every 2): a third to all
of its bytes at its quality or better, 3 to 8 times less CPU to write, 2 to 4 times less to stream; a frame at random
costs about as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataengine.errors import ConfigError

Name = Literal["h264", "av1", "hevc"]

_CRF = {"h264": 23, "av1": 30, "hevc": 24}
_PRESET: dict[str, str] = {"h264": "superfast", "av1": "10", "hevc": "fast"}


@dataclass(frozen=True)
class Codec:
    """An encoder and its settings.

    crf: quality, lower is better, None for the codec's own default here. gop: frames from one keyframe to the
    next; a random access decodes half of them on average. preset: speed, None for the default here. pix_fmt:
    None for yuv420p, or yuv444p where a side is odd. lossless: every pixel comes back as it was (h264 as RGB).
    threads: more than one makes the bytes depend on timing for some codecs.

    There are never B-frames, and every group of pictures is closed: any keyframe is a place to cut.
    """

    name: Name = "h264"
    crf: int | None = None
    gop: int = 24
    preset: str | None = None
    pix_fmt: str | None = None
    lossless: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.name not in _CRF:
            raise ConfigError(f"there is no codec {self.name!r}; choose one of {', '.join(_CRF)}")
        if not all(isinstance(value, int) for value in (self.gop, self.threads, self.quality)):
            raise ConfigError(
                f"gop, threads and crf are whole numbers, not {self.gop!r}, {self.threads!r}, {self.crf!r}"
            )
        if self.gop < 1 or self.threads < 1:
            raise ConfigError(f"gop and threads are at least 1, not {self.gop} and {self.threads}")
        if not 0 <= self.quality <= (63 if self.name == "av1" else 51):
            raise ConfigError(f"crf {self.crf} is outside of what {self.name} takes")
        if self.lossless and self.name == "av1":
            raise ConfigError("lossless is for h264 (as RGB) and hevc (as it is used for depth)")

    @property
    def quality(self) -> int:
        return _CRF[self.name] if self.crf is None else self.crf

    @property
    def encoder(self) -> str:
        """FFmpeg's name."""
        if self.name == "h264":
            return "libx264rgb" if self.lossless and self.pix_fmt is None else "libx264"
        return {"av1": "libsvtav1", "hevc": "libx265"}[self.name]

    def format_for(self, height: int, width: int) -> str:
        """The pixel format that pictures of this size are encoded in."""
        if self.pix_fmt is not None:
            return self.pix_fmt
        if self.lossless and self.name == "h264":
            return "rgb24"
        return "yuv444p" if (height % 2 or width % 2) and self.name != "av1" else "yuv420p"

    def options(self) -> dict[str, str]:
        """FFmpeg's options for the encoder."""
        preset = self.preset or _PRESET[self.name]
        common = {"g": str(self.gop), "preset": preset}
        if self.name == "av1":
            # pred-struct=1 keeps frames in order: no hidden frames, no delay. lp: threads.
            params = f"lp={self.threads}:pred-struct=1:scd=0"
            return {**common, "crf": str(self.quality), "svtav1-params": params}
        if self.name == "hevc":
            # ctu=16: with its default of 64, pictures smaller than that make x265 write outside of its memory, and
            # what it encodes depend on what stood there; costs 3 % at 320×240.
            params = (
                "ctu=16:"
                f"keyint={self.gop}:min-keyint={self.gop}:bframes=0:scenecut=0:open-gop=0:info=0:log-level=error:"
                f"pools=none:frame-threads={self.threads}:"
                # Without loss nothing is decided by looking ahead: the same bytes, and 18 frames earlier.
                + ("lossless=1:rc-lookahead=0" if self.lossless else f"crf={self.quality}")
            )
            return {**common, "x265-params": params}
        quality = {"qp": "0"} if self.lossless else {"crf": str(self.quality)}
        # mbtree=0, cpu-independent: x264's AVX-512 macroblock tree reads memory it did not write, and one file in
        # fifty comes out different. stitchable: parameter sets do not depend on crf, so that such files can be joined.
        # force-cfr: each frame comes out at once, and not after the next one.
        params = (
            f"keyint={self.gop}:min-keyint={self.gop}:scenecut=0:bframes=0:open-gop=0:"
            "mbtree=0:cpu-independent=1:stitchable=1:force-cfr=1"
        )
        if not self.lossless:
            # A frame is decoded a hundred times for once that it is encoded. Without arithmetic coding and loop filter
            # that costs half, for 4 % more bytes; without adaptive quantisation, which is made for the eye, the same
            # bytes are 0.5 dB closer to the pixels.
            params += ":cabac=0:no-deblock=1:aq-mode=0"
        return {**common, **quality, "x264-params": params}


DEFAULT = Codec()
DEPTH = Codec("hevc", gop=10, pix_fmt="gray12le", lossless=True)
