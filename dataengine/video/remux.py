"""A span of a video as a file of its own, with as little decoding as possible.

Whole groups of pictures are copied, packet by packet. Where a span starts or ends inside a group, the frames of
that group alone are encoded again, from the decoder's own YUV, at a quality where it cannot be seen. Such a seam
brings parameter sets of its own: where they differ from the file's, every keyframe carries its set with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av import CodecContext, VideoFrame
from av.video.codeccontext import VideoCodecContext

from dataengine.errors import VideoError
from dataengine.video import nal
from dataengine.video.clip import VideoClip
from dataengine.video.codec import DEFAULT, DEPTH, Codec
from dataengine.video.container import open_video, reading
from dataengine.video.encode import encode, frame_rate
from dataengine.video.index import index_of
from dataengine.video.mux import Copier, Run, copyable_run
from dataengine.video.probe import VideoInfo

# Codecs whose seams decoders accept inside a file, and settings under which nobody sees one.
_SEAM = {
    "h264": Codec("h264", crf=14, gop=250),
    "hevc": Codec("hevc", crf=14, gop=250),
    "av1": Codec("av1", crf=18, gop=250),
}


def remux(clip: VideoClip, target: str | Path, codec: Codec = DEFAULT) -> VideoInfo:
    """Write the clip to `target` at exactly `clip.fps`; the pixels stay as they are. No sound, no tags.

    `VideoInfo.reencoded` says how many frames are not copies: 0 for whole files and spans that start on a keyframe,
    the frames of a cut group otherwise. A span of which nothing can be copied (no whole group in it, or a codec
    that no seam fits) is encoded with `codec`. Raises `VideoError`.
    """
    start, stop = clip.start, clip.start + clip.length
    run = copyable_run(clip.path, start, stop)
    if run is None:
        return encode(clip, target, codec)
    if (run.start, run.stop) == (start, stop):
        return _copy(clip, run, target)
    try:
        head, tail = _seam(clip, 0, run.start - start), _seam(clip, run.stop - start, clip.length)
    except _NoSeam:
        return encode(clip, target, codec)
    return _stitch(clip, run, target, head, tail)


def _copy(clip: VideoClip, run: Run, target: str | Path) -> VideoInfo:
    container, stream = open_video(clip.path)
    with closing(container), Copier(target, stream, frame_rate(clip.fps), run.delay) as output:
        for packet, shown, keyframe in run.packets(container, stream):
            output.add(packet, shown, keyframe)
        return output.close()


def _stitch(clip: VideoClip, run: Run, target: str | Path, head: _Seam, tail: _Seam) -> VideoInfo:
    name, extradata = run.index.coding.codec, run.index.coding.extradata
    prefix = nal.length_size(name, extradata)
    sets = nal.header_sets(name, extradata) if nal.has_units(name) else []
    # Equal parameters everywhere (our own files): the header's set is right for all of them.
    alike = all(seam.sets <= set(sets) for seam in (head, tail))
    container, stream = open_video(clip.path)
    with closing(container), Copier(target, stream, frame_rate(clip.fps), run.delay) as output:
        _add_seam(output, head, name, prefix, alike)
        for packet, shown, keyframe in run.packets(container, stream):
            number = len(head.packets) + shown
            if keyframe and sets and not alike:
                output.add(nal.join(sets, prefix) + bytes(packet), number, keyframe)
            else:
                output.add(packet, number, keyframe)
        _add_seam(output, tail, name, prefix, alike)
        return output.close(reencoded=len(head.packets) + len(tail.packets))


@dataclass(frozen=True)
class _Seam:
    """Encoded frames without reordering: `(bytes, keyframe)` each, and the parameter sets inside them."""

    packets: list[tuple[bytes, bool]]
    sets: frozenset[bytes]


class _NoSeam(Exception):
    """No encoder here makes a stream that fits into this one."""


def _seam(clip: VideoClip, start: int, stop: int) -> _Seam:
    """Encode frames `start` to `stop` of a clip once more, in the codec and pixel format they have."""
    if start == stop:
        return _Seam([], frozenset())
    name = index_of(clip.path).coding.codec
    settings = _SEAM.get(name)
    if settings is None:
        raise _NoSeam
    if clip.kind == "depth":
        settings = DEPTH
    pictures = clip.pictures(start, stop)
    first = next(pictures)
    try:
        context = _encoder(settings, first, frame_rate(clip.fps))
    except (ValueError, VideoError) as error:
        raise _NoSeam from error
    found = list(_encoded(clip.path, context, first, pictures))
    if len(found) != stop - start:
        raise VideoError(clip.path, f"{stop - start} frames at a cut gave {len(found)}")
    if not nal.has_units(name):
        return _Seam(found, frozenset())
    units = {unit for data, keyframe in found if keyframe for unit in nal.split(data, None)}
    return _Seam(found, frozenset(unit for unit in units if nal.is_parameter_set(name, unit)))


def _encoder(settings: Codec, like: VideoFrame, rate: Fraction) -> VideoCodecContext:
    """An encoder for pictures `like` this one that puts its parameter sets into the stream."""
    context = CodecContext.create(settings.encoder, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = like.width, like.height, like.format.name
    context.framerate, context.time_base = rate, 1 / rate
    context.color_range, context.colorspace = like.color_range, like.colorspace
    context.thread_count = 1
    context.options = settings.options()
    with reading("a cut", "cannot be encoded"):
        context.open()
    return context


def _encoded(
    path: Path, context: VideoCodecContext, first: VideoFrame, rest: Iterator[VideoFrame]
) -> Iterator[tuple[bytes, bool]]:
    def pictures() -> Iterator[VideoFrame | None]:
        yield first
        yield from rest
        yield None

    for number, picture in enumerate(pictures()):
        if picture is not None:
            picture.pts, picture.time_base, picture.pict_type = number, context.time_base, 0
        with reading(path, "cannot be encoded"):
            for packet in context.encode(picture):
                yield bytes(packet), packet.is_keyframe


def _add_seam(output: Copier, seam: _Seam, name: str, prefix: int | None, alike: bool) -> None:
    for data, keyframe in seam.packets:
        if nal.has_units(name):
            units = nal.split(data, None)
            if alike:
                units = [unit for unit in units if not nal.is_parameter_set(name, unit)]
            data = nal.join(units, prefix)
        output.add(data, output.frames, keyframe)
