"""ALOHA's HDF5 layout: what its recorders call things, shared by reading and writing.

    attributes                  sim (bool), compress (bool)
    action                      (T, 14) float32 joint targets
    base_action                 (T, 2) float32: linear [m/s], angular [rad/s]             (Mobile ALOHA)
    observations/qpos, qvel     (T, 14) float32
    observations/effort         (T, 14) float32                                           (real robots)
    observations/images/<cam>   (T, H, W, 3) uint8 RGB, or (T, n) uint8: a JPEG a row, padded with zeros
    compress_len                (cameras, T): bytes of each JPEG

Per arm six joints [rad] and a gripper, normalised to 0 closed … 1 open. Row t of qpos and images is before
action t. ACT `record_sim_episodes.py` (742c753), act-plus-plus `compress_data.py` (26bab07), Mobile ALOHA
`record_episodes.py` (0e40324).
"""

from __future__ import annotations

RATE = 50.0  # constants.DT = 0.02 s
IMAGES = "observations/images/"

_ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
JOINTS = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in _ARM)
BASE = ("base_linear", "base_angular")

POSITION_UNITS = ("rad",) * 6 + ("1",)
VELOCITY_UNITS = ("rad/s",) * 6 + ("1/s",)
BASE_UNITS = ("m/s", "rad/s")
