"""Several clips after one another in one file, packet by packet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from dataengine.errors import VideoError
from dataengine.video.clip import VideoClip
from dataengine.video.container import open_video
from dataengine.video.encode import frame_rate
from dataengine.video.mux import Copier, Run, copyable_run
from dataengine.video.probe import VideoInfo


class CannotJoin(VideoError):
    """Clips that cannot stand in one file without encoding; each keeps a file of its own."""


def join(clips: Sequence[VideoClip], target: str | Path) -> VideoInfo:
    """Copy the clips into one file, in this order; clip n starts at the sum of the lengths before it.

    They must start on keyframes, end where nothing is reordered, and share rate, size, pixel format, codec and,
    byte for byte, the codec's parameters: decoders take those of the first for all, and give wrong pictures without
    an error where they differ only a little. Raises `CannotJoin` naming the clip, `VideoError` for a damaged one.
    """
    if not clips:
        raise CannotJoin(target, "there is nothing to join")
    runs = [_run(clip) for clip in clips]
    looks = [_look(clip, run) for clip, run in zip(clips, runs, strict=True)]
    for clip, look in zip(clips, looks, strict=True):
        if differing := [name for name, value in look.items() if value != looks[0][name]]:
            raise CannotJoin(clip.path, f"differs from {clips[0].path.name} in {', '.join(differing)}")
    container, stream = open_video(clips[0].path)
    delay = max(run.delay for run in runs)
    with closing(container), Copier(target, stream, frame_rate(clips[0].fps), delay) as output:
        for run in runs:
            begin = output.frames
            source, track = open_video(run.path)
            with closing(source):
                for packet, shown, keyframe in run.packets(source, track):
                    output.add(packet, begin + shown, keyframe)
        return output.close()


def _run(clip: VideoClip) -> Run:
    stop = clip.start + clip.length
    run = copyable_run(clip.path, clip.start, stop)
    if run is None or (run.start, run.stop) != (clip.start, stop):
        raise CannotJoin(clip.path, f"frames {clip.start} to {stop} are not whole groups of pictures")
    return run


def _look(clip: VideoClip, run: Run) -> dict[str, object]:
    coding = run.index.coding
    return {
        "rate": frame_rate(clip.fps),
        "size": (clip.width, clip.height),
        "pixel format": coding.pix_fmt,
        "codec": coding.codec,
        "codec parameters": run.index.extradata_sha,
    }
