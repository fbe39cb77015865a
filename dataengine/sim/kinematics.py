"""Where the tool is for given joint angles, and which joint angles bring it somewhere: both in closed form.

The tool always points straight down, so a pose is `(x, y, z, yaw)` in the base frame [m, m, m, rad]: the
point between the finger pads, and the rotation of the axis along which the fingers open about z (0: along y).
Yaw is counted without wrapping. Elbow-up solution of the planar two-link arm (Craig, Introduction to
Robotics, section 4.4).
"""

from __future__ import annotations

import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.arm import FOREARM, SHOULDER_HEIGHT, TOOL, UPPER_ARM

# Box in which the tool may be sent, (x, y, z) in [m]; `reachable` draws in the corners the arm does not reach.
WORKSPACE_LOW = np.array([0.10, -0.25, 0.010])
WORKSPACE_HIGH = np.array([0.42, 0.25, 0.24])
MAX_REACH = UPPER_ARM + FOREARM - 0.005
MIN_RADIUS = 0.09


def forward(joints: np.ndarray) -> np.ndarray:
    """Tool point `(..., 3)` and yaw as `(..., 4)` for joint angles `(..., 5)`, whatever the tool's pitch is."""
    q = np.asarray(joints, np.float64)
    pan, lift = q[..., 0], q[..., 1]
    forearm = lift + q[..., 2]
    tool = forearm + q[..., 3]
    radius = UPPER_ARM * np.cos(lift) + FOREARM * np.cos(forearm) + TOOL * np.cos(tool)
    height = SHOULDER_HEIGHT + UPPER_ARM * np.sin(lift) + FOREARM * np.sin(forearm) + TOOL * np.sin(tool)
    return np.stack([radius * np.cos(pan), radius * np.sin(pan), height, pan - q[..., 4]], -1)


def inverse(pose: np.ndarray) -> np.ndarray:
    """Joint angles `(..., 5)` that bring the tool, pointing down, to poses `(..., 4)`.

    Raises `ConfigError` for a pose out of reach; `reachable` gives the nearest one within.
    """
    pose = np.asarray(pose, np.float64)
    radius = np.hypot(pose[..., 0], pose[..., 1])
    rise = pose[..., 2] + TOOL - SHOULDER_HEIGHT
    reach = np.hypot(radius, rise)
    if np.any(reach > UPPER_ARM + FOREARM) or not np.isfinite(pose).all():
        raise ConfigError(f"the arm reaches {UPPER_ARM + FOREARM:.3f} m from its shoulder, not {np.max(reach):.3f} m")
    bend = np.clip((reach**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM), -1, 1)
    elbow = -np.arccos(bend)
    lift = np.arctan2(rise, radius) - np.arctan2(FOREARM * np.sin(elbow), UPPER_ARM + FOREARM * np.cos(elbow))
    pan = np.arctan2(pose[..., 1], pose[..., 0])
    return np.stack([pan, lift, elbow, -np.pi / 2 - lift - elbow, pan - pose[..., 3]], -1)


def reachable(pose: np.ndarray) -> np.ndarray:
    """The pose `(4,)` drawn into the workspace and into the arm's reach; unchanged where it is within."""
    x, y, z = np.clip(pose[:3], WORKSPACE_LOW, WORKSPACE_HIGH)
    rise = z + TOOL - SHOULDER_HEIGHT
    radius = np.hypot(x, y)
    scale = np.clip(radius, MIN_RADIUS, np.sqrt(MAX_REACH**2 - rise**2)) / radius
    return np.array([x * scale, y * scale, z, np.clip(pose[3], -np.pi / 2, np.pi / 2)])
