"""Made-up demonstrations: smooth joints that follow their commands, two cameras, a gripper, a clock."""

from __future__ import annotations

import numpy as np

from dataengine.episode import CAPTURE_TIME, ArrayClip, Episode, Feature, Meta, episode_id

JOINTS = ("waist", "shoulder", "elbow", "wrist", "gripper")
TASKS = ("pick up the red cube", "open the drawer")
HEIGHT, WIDTH = 36, 48


def made_set(count: int = 6, frames: int = 110, fps: float = 30.0, *, cameras: bool = True) -> list[Episode]:
    return [made_episode(number, frames + 5 * number, fps, cameras=cameras) for number in range(count)]


def made_episode(number: int, frames: int = 110, fps: float = 30.0, *, cameras: bool = True, seed: int = 7) -> Episode:
    """Joints move between random postures by minimum-jerk paths; states follow with a gain of 0.25 a frame."""
    rng = np.random.default_rng([seed, number])
    action = _commands(rng, frames)
    state = np.empty_like(action)
    state[0] = action[0]
    for t in range(1, frames):
        state[t] = state[t - 1] + 0.25 * (action[t - 1] - state[t - 1])
    state += rng.normal(0, 2e-4, state.shape)
    features = {
        "observation.state": Feature("float32", (5,), JOINTS, "state", ("rad",) * 4 + ("1",)),
        "action": Feature("float32", (5,), JOINTS, "action", ("rad",) * 4 + ("1",)),
        "next.done": Feature("bool", (1,), role="done"),
        CAPTURE_TIME: Feature("float64", (1,), role="time", unit="s"),
    }
    columns = {
        "observation.state": state.astype(np.float32),
        "action": action.astype(np.float32),
        "next.done": np.arange(frames) == frames - 1,
        CAPTURE_TIME: np.arange(frames) / fps + rng.uniform(0, 0.1 / fps, frames),
    }
    clips = {}
    for camera in ("front", "wrist") if cameras else ():
        key = f"observation.images.{camera}"
        clips[key] = ArrayClip(_pictures(state, camera, rng), fps)
        features[key] = Feature("video", (HEIGHT, WIDTH, 3), ("height", "width", "channels"), "image")
    meta = Meta(tasks=(TASKS[number % 2],), embodiment="made_arm", source={"format": "made", "number": number})
    return Episode(episode_id(f"made {seed}", number), fps, features, columns, clips, meta=meta).check()


def _commands(rng: np.random.Generator, frames: int) -> np.ndarray:
    """`(T, 5)`: four joints through three postures, and a gripper that closes once, within 6 frames."""
    knots = rng.uniform(-1, 1, (4, 4))
    edges = np.linspace(0, frames - 1, 4) + np.array([0, *rng.uniform(-5, 5, 2), 0])
    t = np.arange(frames)
    joints = np.empty((frames, 4))
    for part in range(3):
        inside = (t >= edges[part]) & (t <= edges[part + 1])
        s = (t[inside] - edges[part]) / (edges[part + 1] - edges[part])
        path = 10 * s**3 - 15 * s**4 + 6 * s**5
        joints[inside] = knots[part] + path[:, None] * (knots[part + 1] - knots[part])
    closes = int(frames * rng.uniform(0.4, 0.6))
    gripper = np.clip(1 - (t - closes) / 6, 0.1, 1)
    return np.concatenate([joints, gripper[:, None]], axis=1)


def _pictures(state: np.ndarray, camera: str, rng: np.random.Generator) -> np.ndarray:
    """A bright square where two joints say, on a background of the camera's own, with sensor noise."""
    frames = len(state)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ground = 40 + 3 * rows if camera == "front" else 200 - 3 * columns
    pictures = np.repeat(ground[None, :, :, None], frames, axis=0).astype(np.int16)
    pictures = pictures + rng.integers(-3, 4, (frames, HEIGHT, WIDTH, 1))
    y = np.interp(state[:, 0], (-1, 1), (4, HEIGHT - 12)).astype(int)
    x = np.interp(state[:, 1], (-1, 1), (4, WIDTH - 12)).astype(int)
    for t in range(frames):
        pictures[t, y[t] : y[t] + 8, x[t] : x[t] + 8] += 60
    return np.repeat(pictures, 3, axis=-1).clip(0, 255).astype(np.uint8)
