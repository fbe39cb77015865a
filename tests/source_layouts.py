"""Files in the layouts of other people's recorders, made small with libraries that are not ours."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import zarr

ENV_ARGS = {
    "env_name": "Lift",
    "type": 1,
    "env_kwargs": {
        "robots": ["Panda"],
        "controller_configs": {"type": "OSC_POSE", "output_max": [0.05] * 3 + [0.5] * 3, "control_delta": True},
        "render_path": "/home/jane doe/robosuite/models/assets",
    },
}
MODEL = '<mujoco><asset><mesh file="/home/jane doe/robosuite/models/assets/link.stl"/></asset><body>a/b</body></mujoco>'


def pictures(seed: int, length: int, height: int = 12, width: int = 16) -> np.ndarray:
    """`(T, H, W, 3)` uint8, a red top left corner and a gradient, so that flips and swapped colours show."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (length, height, width, 3), dtype=np.uint8)
    frames[:, : height // 2, : width // 2] = (220, 30, 10)
    return frames


def robomimic(
    path: Path,
    lengths: dict[str, int],
    *,
    env_args: dict[str, Any] | None = ENV_ARGS,
    images: bool = False,
    depth: bool = False,
    obs: bool = True,
    clock: float | None = 0.05,
    masks: dict[str, list[str]] | None = None,
) -> Path:
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        if env_args is not None:
            data.attrs["env_args"] = json.dumps(env_args)
        for seed, (name, length) in enumerate(lengths.items()):
            rng = np.random.default_rng(seed)
            demo = data.create_group(name)
            demo.attrs["num_samples"] = length
            demo.attrs["model_file"] = MODEL
            demo.attrs["camera_info"] = json.dumps({"agentview": {"intrinsics": [[1.0, 0, 8], [0, 1.0, 6], [0, 0, 1]]}})
            demo["actions"] = rng.uniform(-1, 1, (length, 7))
            states = rng.normal(size=(length, 9))
            if clock is not None:
                states[:, 0] = 3 + np.arange(length) * clock
            demo["states"] = states
            demo["rewards"] = rng.uniform(size=length)
            demo["dones"] = (np.arange(length) == length - 1).astype(np.int64)
            if not obs:
                continue
            quaternions = rng.normal(size=(length, 4))
            demo["obs/robot0_eef_pos"] = rng.normal(size=(length, 3))
            demo["obs/robot0_eef_quat"] = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
            demo["obs/robot0_gripper_qpos"] = rng.normal(size=(length, 2))
            demo["obs/object"] = rng.normal(size=(length, 10))
            demo["next_obs/object"] = rng.normal(size=(length, 10))
            if images:
                demo.create_dataset("obs/agentview_image", data=pictures(seed, length), compression="gzip")
            if depth:
                demo["obs/agentview_depth"] = rng.uniform(0.2, 3, (length, 12, 16, 1)).astype(np.float32)
        for mask, names in (masks or {}).items():
            file[f"mask/{mask}"] = np.array(names, dtype="S8") if names else np.empty(0, "S1")
    return path


def libero(path: Path, instruction: str, demos: int = 2, length: int = 6, state: int = 11) -> Path:
    """LIBERO's `create_dataset.py`: pictures lie upside down, as OpenGL draws them."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(
            {"type": 1, "env_name": "Libero_Kitchen", "env_kwargs": {"robots": ["Panda"]}}
        )
        data.attrs["problem_info"] = json.dumps({"problem_name": "kitchen", "language_instruction": instruction})
        data.attrs["bddl_file_name"] = "/home/jane/LIBERO/libero/bddl_files/kitchen.bddl"
        data.attrs["macros_image_convention"] = "opengl"
        for i in range(demos):
            rng = np.random.default_rng(i)
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = length
            demo.attrs["init_state"] = rng.normal(size=state)
            demo["actions"] = rng.uniform(-1, 1, (length, 7))
            demo["states"] = rng.normal(size=(length, state))
            demo["robot_states"] = rng.normal(size=(length, 9))
            demo["rewards"] = np.zeros(length, np.uint8)
            demo["dones"] = np.zeros(length, np.uint8)
            for name, size in (
                ("ee_pos", 3),
                ("ee_ori", 3),
                ("ee_states", 6),
                ("gripper_states", 2),
                ("joint_states", 7),
            ):
                demo[f"obs/{name}"] = rng.normal(size=(length, size))
            demo["obs/agentview_rgb"] = pictures(i, length)[:, ::-1]
            demo["obs/eye_in_hand_rgb"] = pictures(i + 9, length)[:, ::-1]
    return path


def mimicgen(path: Path, demos: int = 2, length: int = 6) -> Path:
    """MimicGen's generated data: robomimic with `datagen_info` and per-demo facts about the sources."""
    robomimic(path, {f"demo_{i}": length for i in range(demos)})
    with h5py.File(path, "a") as file:
        for i in range(demos):
            demo = file[f"data/demo_{i}"]
            info = demo.create_group("datagen_info")
            info["eef_pose"] = np.tile(np.eye(4), (length, 1, 1))
            info["object_poses/cube"] = np.tile(np.eye(4) * 2, (length, 1, 1))
            info["subtask_term_signals/grasp"] = (np.arange(length) > 2).astype(np.int64)
            info["gripper_action"] = np.ones((length, 1))
            demo["src_demo_inds"] = np.array([3, 4])
            demo["src_demo_labels"] = np.array([[0], [1]])
    return path


def aloha(
    path: Path,
    length: int,
    cameras: tuple[str, ...] = ("top",),
    *,
    jpeg: bool = False,
    base: bool = False,
    seed: int = 0,
) -> Path:
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = not base
        file["action"] = rng.normal(size=(length, 14)).astype(np.float32)
        file["observations/qpos"] = rng.normal(size=(length, 14)).astype(np.float32)
        file["observations/qvel"] = rng.normal(size=(length, 14)).astype(np.float32)
        if base:
            file["base_action"] = rng.normal(size=(length, 2)).astype(np.float32)
            file["observations/effort"] = rng.normal(size=(length, 14)).astype(np.float32)
        sizes = []
        for i, camera in enumerate(cameras):
            frames = pictures(seed + i, length)
            if not jpeg:
                file.create_dataset(f"observations/images/{camera}", data=frames, chunks=(1, 12, 16, 3))
                continue
            rows = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].ravel() for frame in frames]
            width = max(map(len, rows)) + 7 * i
            file[f"observations/images/{camera}"] = np.stack([np.pad(r, (0, width - len(r))) for r in rows])
            sizes.append([len(r) for r in rows])
        if jpeg:
            file.attrs["compress"] = True
            file["compress_len"] = np.array(sizes, np.float32)
    return path


def replay(
    path: Path, arrays: dict[str, np.ndarray], ends: list[int], *, version: int = 2, chunk: int = 4, codec: Any = None
) -> Path:
    """A replay buffer with chunks of `chunk` rows; a path that ends in .zip gives a zip store."""
    store = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else zarr.storage.LocalStore(path)
    root = zarr.create_group(store, zarr_format=version)
    for name, values in {**{f"data/{n}": v for n, v in arrays.items()}, "meta/episode_ends": np.array(ends)}.items():
        packed = {"compressors": codec} if codec is not None and values.ndim == 4 else {}
        chunks = (1 if packed else min(chunk, len(values)), *values.shape[1:])
        array = root.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks, **packed)
        array[:] = values
    store.close()
    return path


def umi(length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(length)
    return {
        "camera0_rgb": pictures(1, length, 16, 16),
        "robot0_eef_pos": rng.normal(size=(length, 3)).astype(np.float32),
        "robot0_eef_rot_axis_angle": rng.normal(size=(length, 3)).astype(np.float32),
        "robot0_gripper_width": rng.uniform(0, 0.08, (length, 1)).astype(np.float32),
        "robot0_demo_start_pose": rng.normal(size=(length, 6)),
    }


def png() -> bytes:
    done, data = cv2.imencode(".png", pictures(0, 1)[0])
    assert done
    return io.BytesIO(data).getvalue()
