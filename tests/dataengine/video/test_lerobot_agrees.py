"""Stock LeRobot 0.6.1 decodes our files, and we decode its files, to the same pixels.

In a process of its own: importing lerobot takes many seconds and brings torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_foreign import moving

from conftest import DATA
from dataengine.episode import ArrayClip
from dataengine.video import Codec, DepthCoding, VideoClip, encode, join, remux

GROOT = "groot_lerobot/robot_sim.PickNPlace"

LEROBOT = """
import json, sys
import numpy as np
from lerobot.datasets.depth_utils import dequantize_depth, quantize_depth
from lerobot.datasets.video_utils import decode_video_frames, get_video_info
from lerobot.configs.video import encoder_config_from_video_info

folder = sys.argv[1]
jobs = json.load(open(folder + "/jobs.json"))
for name, job in jobs.items():
    if "depth_in" in job:
        metres = np.load(job["depth_in"])
        codes = np.stack([quantize_depth(m, video_backend=None, input_unit="m", **job["coding"]) for m in metres])
        form = {"output_unit": "m", "output_tensor": False, "output_channel_last": True}
        back = dequantize_depth(codes[..., None], **form, **job["coding"])
        np.savez(f"{folder}/{name}.npz", codes=codes, metres=back)
        continue
    stamps = np.float32(np.array(job["frames"]) / job["fps"]).tolist()
    depth = job.get("depth", False)
    frames = decode_video_frames(job["path"], stamps, 1e-4, "pyav", return_uint8=True, is_depth=depth)
    if depth:
        frames = dequantize_depth(frames, output_unit="m", output_channel_last=True)
    else:
        frames = frames.permute(0, 2, 3, 1)
    info = get_video_info(job["path"])
    if job.get("info"):
        encoder_config_from_video_info(job["info"])
    np.savez(f"{folder}/{name}.npz", frames=frames.numpy(), info=json.dumps(info))
"""


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """What both read: file, frame numbers, rate. LeRobot's frames end in `<name>.npz`."""
    pytest.importorskip("av")
    if (
        not (Path(sys.prefix) / "lib").exists()
        or subprocess.run(
            [sys.executable, "-c", "import importlib.util as u, sys; sys.exit(not u.find_spec('lerobot'))"], check=False
        ).returncode
    ):
        pytest.skip("needs lerobot")
    folder = tmp_path_factory.mktemp("agreed")
    clip = ArrayClip(moving(60), 30.0)
    for name, codec in {"h264": Codec(), "av1": Codec("av1"), "lossless": Codec(lossless=True)}.items():
        encode(clip, folder / f"{name}.mp4", codec)
    metres = np.random.default_rng(0).uniform(0, 11, (20, 30, 40, 1)).astype(np.float32)
    np.save(folder / "metres.npy", metres)
    encode(ArrayClip(metres, 30.0), folder / "depth.mp4")
    ours = VideoClip.from_file(folder / "h264.mp4", trusted=True)
    remux(ours.slice(7, 53), folder / "cut.mp4")
    join([ours] * 20, folder / "joined.mp4")

    picks = np.random.default_rng(1)
    jobs: dict[str, dict] = {
        "depth_codes": {"depth_in": str(folder / "metres.npy"), "coding": {}},
        "depth_codes_odd": {
            "depth_in": str(folder / "metres.npy"),
            "coding": {"depth_min": 0.2, "depth_max": 3.0, "shift": 0.05},
        },
        "depth": {"path": str(folder / "depth.mp4"), "frames": [0, 7, 19], "fps": 30, "depth": True},
    }
    lengths = {"h264": 60, "av1": 60, "lossless": 60, "cut": 46, "joined": 1200}
    for name, length in lengths.items():
        frames = sorted(picks.integers(0, length, 12).tolist())
        jobs[name] = {"path": str(folder / f"{name}.mp4"), "frames": frames, "fps": 30}
    real = {
        "g1": ("lerobot_v21_g1/videos/chunk-000/observation.images.cam_high/episode_000000.mp4", 278, 30),
        "groot": (f"{GROOT}/videos/chunk-000/observation.images.ego_view/episode_000000.mp4", 416, 20),
        "hand": ("hands/handpose3d_cam0.mp4", 378, 30),
        "v30": ("lerobot_v30_depth_language/videos/observation.images.top/chunk-000/file-000.mp4", 255, 50),
        "v30_depth": ("lerobot_v30_depth_language/videos/observation.images.top_depth/chunk-000/file-000.mp4", 255, 50),
    }
    for name, (path, length, fps) in real.items():
        if (DATA / path).exists():
            frames = sorted(picks.integers(0, length, 8).tolist())
            jobs[name] = {"path": str(DATA / path), "frames": frames, "fps": fps, "depth": name.endswith("depth")}
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = subprocess.run([sys.executable, "-c", LEROBOT, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return jobs, folder


def test_the_same_pixels(agreed: tuple[dict, Path]) -> None:
    jobs, folder = agreed
    for name, job in jobs.items():
        if "depth_in" in job:
            continue
        theirs = np.load(folder / f"{name}.npz")["frames"]
        clip = VideoClip.from_file(job["path"], depth=DepthCoding() if job.get("depth") else None)
        ours = np.stack([clip.frame(i) for i in job["frames"]])
        if clip.kind == "rgb":
            assert (ours == theirs).all(), name
        else:
            assert np.abs(ours - theirs).max() < 1e-5, name  # torch's float32 exp differs in the last bit


def test_the_same_depth_codes(agreed: tuple[dict, Path]) -> None:
    _, folder = agreed
    metres = np.load(folder / "metres.npy")
    for name, coding in [("depth_codes", DepthCoding()), ("depth_codes_odd", DepthCoding(0.2, 3.0, 0.05))]:
        theirs = np.load(folder / f"{name}.npz")
        codes = coding.encode(metres[..., 0])
        assert (codes == theirs["codes"]).all(), name
        assert (coding.decode(codes)[..., None] == theirs["metres"]).all(), name


def test_the_same_description(agreed: tuple[dict, Path]) -> None:
    from dataengine.video import lerobot_info, probe

    jobs, folder = agreed
    for name, job in jobs.items():
        if "depth_in" not in job:
            theirs = json.loads(str(np.load(folder / f"{name}.npz")["info"]))
            assert lerobot_info(probe(job["path"])) == theirs, name
