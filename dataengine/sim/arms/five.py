"""Five joints, after the SO-101: the tool always points straight down, a pose is `(x, y, z, yaw)`.

At joint angles 0 the whole arm points along +x. Elbow-up solution of the planar two-link arm (Craig, Introduction to
Robotics, section 4.4). Yaw is counted without wrapping.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.arms.base import Arm
from dataengine.sim.arms.hand import DARK, TOOL, hand_xml

SHOULDER_HEIGHT = 0.12  # [m] height of the shoulder lift axis above the table
UPPER_ARM = 0.22  # [m] shoulder lift axis to elbow axis
FOREARM = 0.22  # [m] elbow axis to wrist pitch axis
MAX_REACH = UPPER_ARM + FOREARM - 0.005
MIN_RADIUS = 0.09

# Position servos (kp [N m/rad], kv [N m s/rad]), critically damped for the arm's inertia: a step of the target
# is nine tenths done after one control step of 0.1 s.
SERVO_KP, SERVO_KV, SERVO_FORCE = 90.0, 4.0, 25.0

_LIGHT = "0.86 0.86 0.88 1"


class Five(Arm):
    """The five-jointed arm; its action is `(5,)`."""

    name = "five"
    embodiment = "tabletop_arm"
    joints = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_pitch", "wrist_roll")
    joint_range = ((-2.0, 2.0), (-0.6, 2.6), (-2.9, 0.2), (-2.9, 1.2), (-3.4, 3.4))
    pose_names = ("ee.x", "ee.y", "ee.z", "ee.yaw")
    pose_units = ("m", "m", "m", "rad")
    # `reachable` draws in the corners of this box that the arm does not reach.
    pose_low: ClassVar[np.ndarray] = np.array([0.10, -0.25, 0.010, -np.pi / 2])
    pose_high: ClassVar[np.ndarray] = np.array([0.42, 0.25, 0.24, np.pi / 2])
    tilts = False
    rotation = "yaw about z, tool pointing down"

    def forward(self, joints: np.ndarray) -> np.ndarray:
        """Tool point and yaw, whatever the tool's pitch is."""
        q = np.asarray(joints, np.float64)
        pan, lift = q[..., 0], q[..., 1]
        forearm = lift + q[..., 2]
        tool = forearm + q[..., 3]
        radius = UPPER_ARM * np.cos(lift) + FOREARM * np.cos(forearm) + TOOL * np.cos(tool)
        height = SHOULDER_HEIGHT + UPPER_ARM * np.sin(lift) + FOREARM * np.sin(forearm) + TOOL * np.sin(tool)
        return np.stack([radius * np.cos(pan), radius * np.sin(pan), height, pan - q[..., 4]], -1)

    def inverse(self, pose: np.ndarray) -> np.ndarray:
        pose = np.asarray(pose, np.float64)
        radius = np.hypot(pose[..., 0], pose[..., 1])
        rise = pose[..., 2] + TOOL - SHOULDER_HEIGHT
        reach = np.hypot(radius, rise)
        if np.any(reach > UPPER_ARM + FOREARM) or not np.isfinite(pose).all():
            raise ConfigError(
                f"the arm reaches {UPPER_ARM + FOREARM:.3f} m from its shoulder, not {np.max(reach):.3f} m"
            )
        bend = np.clip((reach**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM), -1, 1)
        elbow = -np.arccos(bend)
        lift = np.arctan2(rise, radius) - np.arctan2(FOREARM * np.sin(elbow), UPPER_ARM + FOREARM * np.cos(elbow))
        pan = np.arctan2(pose[..., 1], pose[..., 0])
        return np.stack([pan, lift, elbow, -np.pi / 2 - lift - elbow, pan - pose[..., 3]], -1)

    def reachable(self, pose: np.ndarray) -> np.ndarray:
        x, y, z, yaw = np.clip(pose, self.pose_low, self.pose_high)
        rise = z + TOOL - SHOULDER_HEIGHT
        radius = np.hypot(x, y)
        scale = np.clip(radius, MIN_RADIUS, np.sqrt(MAX_REACH**2 - rise**2)) / radius
        return np.array([x * scale, y * scale, z, yaw])

    def measured(self, joints: np.ndarray, point: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        return np.array([*point, joints[0] - joints[4]])

    def upright(self, place: np.ndarray) -> np.ndarray:
        return place

    def body_xml(self) -> str:
        roll = f'<joint name="wrist_roll" axis="1 0 0" range="{self.range_xml(4)}" class="arm"/>'
        return f"""
    <body name="base">
      <geom type="cylinder" size="0.045 0.03" pos="0 0 0.03" rgba="{DARK}" class="shown"/>
      <body name="turret" pos="0 0 0.06" gravcomp="1">
        <joint name="shoulder_pan" axis="0 0 1" range="{self.range_xml(0)}" class="arm"/>
        <geom type="cylinder" size="0.035 0.035" pos="0 0 0.035" mass="0.4" rgba="{_LIGHT}" class="shown"/>
        <body name="upper_arm" pos="0 0 {SHOULDER_HEIGHT - 0.06}" gravcomp="1">
          <joint name="shoulder_lift" axis="0 -1 0" range="{self.range_xml(1)}" class="arm"/>
          <geom type="capsule" size="0.022" fromto="0 0 0 {UPPER_ARM} 0 0" mass="0.3" rgba="{_LIGHT}" class="shown"/>
          <body name="forearm" pos="{UPPER_ARM} 0 0" gravcomp="1">
            <joint name="elbow" axis="0 -1 0" range="{self.range_xml(2)}" class="arm"/>
            <geom type="capsule" size="0.019" fromto="0 0 0 {FOREARM} 0 0" mass="0.2" rgba="{_LIGHT}" class="shown"/>
            <body name="wrist" pos="{FOREARM} 0 0" gravcomp="1">
              <joint name="wrist_pitch" axis="0 -1 0" range="{self.range_xml(3)}" class="arm"/>
              <geom type="capsule" size="0.018" fromto="0 0 0 0.05 0 0" mass="0.08" rgba="{DARK}" class="shown"/>
              {hand_xml(roll)}
            </body>
          </body>
        </body>
      </body>
    </body>"""

    def servos_xml(self) -> str:
        return "".join(
            f'<position name="{joint}" joint="{joint}" kp="{SERVO_KP}" kv="{SERVO_KV}" ctrlrange="{self.range_xml(i)}"'
            f' forcerange="-{SERVO_FORCE} {SERVO_FORCE}"/>'
            for i, joint in enumerate(self.joints)
        )


FIVE = Five()
