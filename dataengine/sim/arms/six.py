"""Six joints with a spherical wrist: a pose is `(x, y, z, roll, pitch, yaw)`, extrinsic x-y-z angles [rad] of the tool
relative to pointing straight down.

At joint angles 0 the whole arm points along +x. The last three axes meet in one point, so that point gives the first
three joints and the tool's rotation seen from the forearm the last three (Pieper 1968; Craig, section 4.6). Of the
eight solutions the one with the elbow up and the wrist bent downwards is taken: it changes steadily with the pose.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.arms.base import DOWN, Arm
from dataengine.sim.arms.hand import DARK, TOOL, hand_xml
from dataengine.sim.rotations import angles, matrix

SHOULDER_HEIGHT = 0.14  # [m] height of the shoulder axis above the table
UPPER_ARM = 0.24  # [m] shoulder axis to elbow axis
FOREARM = 0.24  # [m] elbow axis to the point where the wrist's axes meet
MAX_REACH = UPPER_ARM + FOREARM - 0.005
MIN_RADIUS = 0.09  # [m] of the wrist's point from the first axis
MIN_HEIGHT = 0.035  # [m] of the wrist's point above the table, so that the hand does not dip into it
SLACK = 0.03  # [rad] kept from every joint limit
STRAIGHT = 1e-9  # sine of the wrist's bend below which its outer axes count as one

SERVO_KP, SERVO_KV, SERVO_FORCE = 120.0, 5.5, 35.0
WRIST_KP, WRIST_KV = 60.0, 2.7

_SHELL = "0.93 0.94 0.95 1"
_RING = "0.13 0.55 0.58 1"


class Six(Arm):
    """The six-jointed arm; its action is `(7,)`."""

    name = "six"
    embodiment = "tabletop_arm_six"
    joints = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
    joint_range = ((-2.0, 2.0), (-0.6, 2.6), (-2.9, 0.2), (-2.8, 2.8), (-2.8, 0.3), (-3.4, 3.4))
    pose_names = ("ee.x", "ee.y", "ee.z", "ee.roll", "ee.pitch", "ee.yaw")
    pose_units = ("m", "m", "m", "rad", "rad", "rad")
    pose_low: ClassVar[np.ndarray] = np.array([0.10, -0.28, 0.010, -2.2, -1.1, -np.pi / 2])
    pose_high: ClassVar[np.ndarray] = np.array([0.45, 0.28, 0.28, 2.2, 1.1, np.pi / 2])
    tilts = True
    rotation = "extrinsic xyz angles relative to the tool pointing down"

    def forward(self, joints: np.ndarray) -> np.ndarray:
        q = np.asarray(joints, np.float64)
        inner = _inner(q)
        rotation = inner @ _about_x(q[..., 3]) @ _about_y(-q[..., 4]) @ _about_x(q[..., 5])
        radius = UPPER_ARM * np.cos(q[..., 1]) + FOREARM * np.cos(q[..., 1] + q[..., 2])
        height = SHOULDER_HEIGHT + UPPER_ARM * np.sin(q[..., 1]) + FOREARM * np.sin(q[..., 1] + q[..., 2])
        wrist = np.stack([radius * np.cos(q[..., 0]), radius * np.sin(q[..., 0]), height], -1)
        return np.concatenate([wrist + TOOL * rotation[..., :, 0], angles(rotation @ DOWN.T)], -1)

    def inverse(self, pose: np.ndarray) -> np.ndarray:
        pose = np.asarray(pose, np.float64)
        rotation = matrix(pose[..., 3:]) @ DOWN
        wrist = pose[..., :3] - TOOL * rotation[..., :, 0]
        radius, rise = np.hypot(wrist[..., 0], wrist[..., 1]), wrist[..., 2] - SHOULDER_HEIGHT
        reach = np.hypot(radius, rise)
        if np.any(reach > UPPER_ARM + FOREARM) or not np.isfinite(pose).all():
            raise ConfigError(
                f"the arm reaches {UPPER_ARM + FOREARM:.3f} m from its shoulder, not {np.max(reach):.3f} m"
            )
        bend = np.clip((reach**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM), -1, 1)
        elbow = -np.arccos(bend)
        lift = np.arctan2(rise, radius) - np.arctan2(FOREARM * np.sin(elbow), UPPER_ARM + FOREARM * np.cos(elbow))
        first = np.stack([np.arctan2(wrist[..., 1], wrist[..., 0]), lift, elbow], -1)
        return np.concatenate([first, _wrist(np.swapaxes(_inner(first), -1, -2) @ rotation)], -1)

    def reachable(self, pose: np.ndarray) -> np.ndarray:
        """First the point, as if the tool pointed down, then as much of the tilt as the arm can give there."""
        near = np.clip(pose, self.pose_low, self.pose_high)
        rise = near[2] + TOOL - SHOULDER_HEIGHT
        radius = np.hypot(near[0], near[1])
        near[:2] *= np.clip(radius, MIN_RADIUS, np.sqrt(MAX_REACH**2 - rise**2)) / radius
        if _within(self, near[None])[0]:
            return near
        shares = np.linspace(0, 1, 17)
        tilted = np.tile(near, (len(shares), 1))
        tilted[:, 3:5] *= shares[:, None]
        return tilted[np.flatnonzero(np.logical_and.accumulate(_within(self, tilted)))[-1]]

    def measured(self, joints: np.ndarray, point: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        return np.concatenate([point, angles(rotation @ DOWN.T)])

    def upright(self, place: np.ndarray) -> np.ndarray:
        return np.array([*place[:3], 0.0, 0.0, place[3]])

    def body_xml(self) -> str:
        turn = f'<joint name="wrist_rotate" axis="1 0 0" range="{self.range_xml(5)}" class="arm"/>'
        return f"""
    <body name="base">
      <geom type="box" size="0.05 0.05 0.03" pos="0 0 0.03" rgba="{DARK}" class="shown"/>
      <body name="turret" pos="0 0 0.06" gravcomp="1">
        <joint name="waist" axis="0 0 1" range="{self.range_xml(0)}" class="arm"/>
        <geom type="cylinder" size="0.04 0.045" pos="0 0 0.045" mass="0.4" rgba="{_SHELL}" class="shown"/>
        <body name="upper_arm" pos="0 0 {SHOULDER_HEIGHT - 0.06}" gravcomp="1">
          <joint name="shoulder" axis="0 -1 0" range="{self.range_xml(1)}" class="arm"/>
          <geom type="cylinder" size="0.030 0.034" euler="1.5708 0 0" mass="0.1" rgba="{_RING}" class="shown"/>
          <geom type="capsule" size="0.022" fromto="0 0 0 {UPPER_ARM} 0 0" mass="0.3" rgba="{_SHELL}" class="shown"/>
          <body name="forearm" pos="{UPPER_ARM} 0 0" gravcomp="1">
            <joint name="elbow" axis="0 -1 0" range="{self.range_xml(2)}" class="arm"/>
            <geom type="cylinder" size="0.026 0.030" euler="1.5708 0 0" mass="0.08" rgba="{_RING}" class="shown"/>
            <geom type="capsule" size="0.020" fromto="0 0 0 0.12 0 0" mass="0.1" rgba="{_SHELL}" class="shown"/>
            <body name="forearm_link" pos="0.12 0 0" gravcomp="1">
              <joint name="forearm_roll" axis="1 0 0" range="{self.range_xml(3)}" class="arm"/>
              <geom type="capsule" size="0.017" fromto="0 0 0 {FOREARM - 0.12} 0 0" mass="0.1" rgba="{_SHELL}"
                    class="shown"/>
              <body name="wrist" pos="{FOREARM - 0.12} 0 0" gravcomp="1">
                <joint name="wrist_angle" axis="0 -1 0" range="{self.range_xml(4)}" class="arm"/>
                <geom type="cylinder" size="0.020 0.022" euler="1.5708 0 0" mass="0.04" rgba="{_RING}" class="shown"/>
                <geom type="capsule" size="0.017" fromto="0 0 0 0.05 0 0" mass="0.05" rgba="{DARK}" class="shown"/>
                {hand_xml(turn)}
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>"""

    def servos_xml(self) -> str:
        gains = ((SERVO_KP, SERVO_KV),) * 3 + ((WRIST_KP, WRIST_KV),) * 3
        return "".join(
            f'<position name="{joint}" joint="{joint}" kp="{kp}" kv="{kv}" ctrlrange="{self.range_xml(i)}"'
            f' forcerange="-{SERVO_FORCE} {SERVO_FORCE}"/>'
            for i, (joint, (kp, kv)) in enumerate(zip(self.joints, gains, strict=True))
        )


def _within(arm: Arm, poses: np.ndarray) -> np.ndarray:
    """Whether the arm can take poses `(N, 6)`: reach, wrist off table and post, joint limits. `(N,)` bool."""
    wrist = poses[:, :3] - TOOL * (matrix(poses[:, 3:]) @ DOWN)[:, :, 0]
    radius = np.hypot(wrist[:, 0], wrist[:, 1])
    near = np.hypot(radius, wrist[:, 2] - SHOULDER_HEIGHT) <= MAX_REACH + 1e-9
    fine = near & (radius >= MIN_RADIUS - 1e-9) & (wrist[:, 2] >= MIN_HEIGHT)
    low, high = np.array(arm.joint_range).T
    joints = arm.inverse(poses[fine])
    found = fine.copy()
    found[fine] = ((joints > low + SLACK) & (joints < high - SLACK)).all(-1)
    return found


def _wrist(m: np.ndarray) -> np.ndarray:
    """Angles `(..., 3)` about x, -y and x that make the rotation `(..., 3, 3)`; the middle one is never positive."""
    middle = -np.arctan2(np.hypot(m[..., 1, 0], m[..., 2, 0]), m[..., 0, 0])
    straight = np.hypot(m[..., 1, 0], m[..., 2, 0]) < STRAIGHT
    first = np.where(straight, 0.0, np.arctan2(m[..., 1, 0], -m[..., 2, 0]))
    last = np.where(straight, np.arctan2(m[..., 2, 1], m[..., 1, 1]), np.arctan2(m[..., 0, 1], m[..., 0, 2]))
    return np.stack([first, middle, last], -1)


def _inner(q: np.ndarray) -> np.ndarray:
    """Rotation of the forearm `(..., 3, 3)` by the first three joints."""
    level = np.zeros_like(q[..., 0])
    return matrix(np.stack([level, -(q[..., 1] + q[..., 2]), q[..., 0]], -1))


def _about_x(angle: np.ndarray) -> np.ndarray:
    return matrix(np.stack([angle, np.zeros_like(angle), np.zeros_like(angle)], -1))


def _about_y(angle: np.ndarray) -> np.ndarray:
    return matrix(np.stack([np.zeros_like(angle), angle, np.zeros_like(angle)], -1))


SIX = Six()
