"""Pictures of cameras as video files: read by frame number, encoded once, then copied, cut and joined undecoded.

`VideoClip` is the span of a file that an episode holds; `encode`, `remux` and `join` make files; `probe` and
`probe_guarded` say what a file is. Frames are numbered by the order they are shown, whatever the file's clock says.
"""

from dataengine.video.clip import VideoClip
from dataengine.video.codec import DEFAULT, DEPTH, Codec
from dataengine.video.depth import DepthCoding
from dataengine.video.encode import Encoder, encode
from dataengine.video.join import CannotJoin, join
from dataengine.video.probe import VideoInfo, lerobot_info, probe, probe_guarded
from dataengine.video.reader import close_readers
from dataengine.video.remux import remux

__all__ = [
    "DEFAULT",
    "DEPTH",
    "CannotJoin",
    "Codec",
    "DepthCoding",
    "Encoder",
    "VideoClip",
    "VideoInfo",
    "close_readers",
    "encode",
    "join",
    "lerobot_info",
    "probe",
    "probe_guarded",
    "remux",
]
