"""Other people's videos and photographs of hands, from the file to robot actions, and how fast.

Every one goes through one flow (track, cut, retarget to a gripper), into a LeRobotDataset of its own, with pictures of
the landmarks to be looked at. Beside it the speed of tracking, decoding included, against a bare loop of OpenCV and
MediaPipe over the same frames; and, for the clip that another program has tracked too, how far our hand is from that
program's: each frame's hands laid over one another (rotation and place, no scale), and by how many frames one is late.

Targets: every file with a hand that the tracker finds gives a dataset with robot actions; tracking reaches 90 % of the
bare loop.
"""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from bench.results import DATA, record
from collectors.egocentric.camera import camera_of
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.footage import open_footage
from collectors.egocentric.identity import assign
from collectors.egocentric.mediapipe_hands import MediaPipeHands, _landmarker, _quiet
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.sightings import sightings
from dataengine import hands
from dataengine.flow import run_flow
from dataengine.store import Store

FOLDER = DATA / "hands"
MODEL = Path(os.environ.get("DATAENGINE_HAND_MODEL", DATA / "models" / "hand_landmarker.task"))
RATE, ROUNDS, FRAMES = 0.9, 3, 200
LATEST = 6  # frames that one program may be late to the other


def main() -> None:
    files = sorted([*FOLDER.glob("*.mp4"), *FOLDER.glob("*.jpg")])
    pages = Path("out/bench/hands_real")
    flows = {path.name: through_a_flow(path, pages) for path in files}
    speeds = {path.name: speed(path) for path in files if path.suffix == ".mp4"}
    other = beside_another_program()
    slowest = min(one["of_the_bare_loop"] for one in speeds.values())
    lacking = [name for name, one in flows.items() if one["hands_found"] and not one["actions"]]
    record(
        "hands_real",
        {
            "target": f"every file with a hand gives robot actions; tracking at least {RATE} of a bare loop",
            "lacking": lacking,
            "slowest_of_the_bare_loop": slowest,
            "speed": speeds,
            "beside_another_program": other,
            "files": flows,
        },
        met=not lacking and slowest >= RATE,
    )


def through_a_flow(path: Path, pages: Path) -> dict[str, Any]:
    """`hands_found`: frames in which the tracker sees one."""
    still = {"moving": 0.0, "shortest": 0.0} if path.suffix == ".jpg" else {}
    flow = {
        "name": path.stem,
        "source": {
            "path": str(path),
            "format": "ego",
            "mapping": {"tracker_params": {"model": str(MODEL)}, "task": "move the hands"},
        },
        "stages": [{"cut_hands": still}, {"retarget": {"hand": side_of(path), "shortest": 0.0 if still else 0.5}}],
        "out": str(pages / path.stem),
        "then": ["hand_report"],
    }
    found = sum(map(bool, seen_in(path)))
    result = run_flow(flow, workers=1, progress=False, overwrite=True)
    made = Store.open(pages / path.stem) if result.kept else None
    return {
        "frames": open_footage(path).clip.length,
        "hands_found": found,
        "episodes": result.kept,
        "actions": 0 if made is None else sum(episode.length for episode in made.episodes()),
        "dropped": result.dropped,
        "quarantined": result.quarantined,
    }


def seen_in(path: Path) -> list[list[Any]]:
    return sightings(open_footage(path), MediaPipeHands(model=MODEL))


def side_of(path: Path) -> str:
    """The hand that is seen in more frames."""
    footage = open_footage(path)
    tracks = assign(seen_in(path), footage.clip.fps)
    count = np.isfinite(tracks.pixels).all((2, 3)).sum(1)
    return hands.SIDES[int(count.argmax())]


def speed(path: Path) -> dict[str, float]:
    """Frames a second, in turns; the best of each, so that what else the machine does counts least."""
    ours, bare = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        count = sum(1 for _ in MediaPipeHands(model=MODEL).track(open_footage(path).clip.frames(0, FRAMES), 30.0))
        ours.append(count / (time.perf_counter() - begin))
        begin = time.perf_counter()
        bare.append(_bare(path) / (time.perf_counter() - begin))
    return {
        "frames_a_second": round(max(ours), 2),
        "bare_loop": round(max(bare), 2),
        "of_the_bare_loop": round(max(ours) / max(bare), 3),
    }


def _bare(path: Path) -> int:
    """What anybody would write: OpenCV reads, MediaPipe looks."""
    import mediapipe

    film = cv2.VideoCapture(str(path))
    with _quiet():
        landmarker = _landmarker(MediaPipeHands(model=MODEL))
    with landmarker:
        for number in range(FRAMES):
            got, picture = film.read()
            if not got:
                return number
            image = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            )
            landmarker.detect_for_video(image, round(number * 1000 / 30))
    return FRAMES


def beside_another_program() -> dict[str, float]:
    footage = open_footage(FOLDER / "dexretargeting_human_hand.mp4")
    tracks = assign(seen_in(footage.path), footage.clip.fps, ("right",))
    camera = camera_of(None, footage.clip.width, footage.clip.height)
    made = hand_columns(tracks, camera, EgoSettings(sides=("right",)), footage.clip.fps).columns
    ours = made[hands.column("right", "landmarks")].astype(float)
    there = made[hands.column("right", "tracked")] != hands.ABSENT
    with (FOLDER / "dexretargeting_human_joint_right.pkl").open("rb") as file:
        theirs = np.array(_Arrays(file).load(), float)
    off = np.array([_aligned(a, b) for a, b in zip(ours[there], theirs[there], strict=True)]) * 1000
    spread = [np.linalg.norm(hand[:, 8] - hand[:, 4], axis=1) for hand in (ours, theirs)]
    lags = range(-LATEST, LATEST + 1)
    inner = slice(LATEST, len(ours) - LATEST)
    alike = [np.corrcoef(np.roll(spread[0], -lag)[inner], spread[1][inner])[0, 1] for lag in lags]
    return {
        "frames": int(there.sum()),
        "landmarks_off_mm_p50": round(float(np.median(off)), 1),
        "landmarks_off_mm_p90": round(float(np.percentile(off, 90)), 1),
        "late_frames": lags[int(np.argmax(alike))],
        "pinch_correlation": round(float(max(alike)), 3),
    }


def _aligned(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """`(21,)` distances after the best rotation and place (Kabsch 1976)."""
    a, b = ours - ours.mean(0), theirs - theirs.mean(0)
    turn, _ = Rotation.align_vectors(b, a)
    return np.linalg.norm(turn.apply(a) - b, axis=1)


class _Arrays(pickle.Unpickler):
    """Arrays of numbers and nothing else."""

    ALLOWED = ("numpy.ndarray", "numpy.dtype", "numpy.core.multiarray._reconstruct")

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self.ALLOWED:
            raise pickle.UnpicklingError(f"holds {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


if __name__ == "__main__":
    main()
