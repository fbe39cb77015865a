"""The arm: five joints, a parallel gripper and a camera at the wrist, as MJCF of primitives.

Frame: the robot base, x forward over the table, y to the left, z up, origin on the table top below the first
joint; it is also the world frame. Units: m, rad, s, kg. At joint angles 0 the whole arm points along +x.
The tool frame is `ee`, the point midway between the finger pads.
"""

from __future__ import annotations

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_pitch", "wrist_roll")
FINGERS = ("left_finger", "right_finger")

SHOULDER_HEIGHT = 0.12  # [m] height of the shoulder lift axis above the table
UPPER_ARM = 0.22  # [m] shoulder lift axis to elbow axis
FOREARM = 0.22  # [m] elbow axis to wrist pitch axis
TOOL = 0.13  # [m] wrist pitch axis to the point between the finger pads
FINGER_TIP = 0.008  # [m] how far the fingers reach beyond that point
FINGER_STROKE = 0.035  # [m] travel of each finger from closed to open; the jaw opens twice as far

JOINT_RANGE = ((-2.0, 2.0), (-0.6, 2.6), (-2.9, 0.2), (-2.9, 1.2), (-3.4, 3.4))  # [rad]

# Position servos (kp [N m/rad], kv [N m s/rad]), critically damped for the arm's inertia: a step of the target
# is nine tenths done after one control step of 0.1 s.
SERVO_KP, SERVO_KV, SERVO_FORCE = 90.0, 4.0, 25.0
GRIP_KP, GRIP_KV, GRIP_FORCE = 900.0, 40.0, 14.0

_LIGHT = "0.86 0.86 0.88 1"
_DARK = "0.20 0.21 0.24 1"
_TIP = "0.95 0.75 0.15 1"


def _finger(name: str, side: int) -> str:
    return f"""
              <body name="{name}" pos="{TOOL} 0 0" gravcomp="1">
                <joint name="{name}" type="slide" axis="0 {side} 0" range="0 {FINGER_STROKE}" armature="0.02"
                       damping="1"/>
                <geom name="{name}_pad" type="box" size="0.024 0.004 0.009" pos="{FINGER_TIP - 0.024} {side * 0.004} 0"
                      mass="0.02" rgba="{_TIP}" class="gripping"/>
              </body>"""


def arm_xml() -> str:
    """The arm's body tree, to stand inside `<worldbody>`."""
    return f"""
    <body name="base">
      <geom type="cylinder" size="0.045 0.03" pos="0 0 0.03" rgba="{_DARK}" class="shown"/>
      <body name="turret" pos="0 0 0.06" gravcomp="1">
        <joint name="shoulder_pan" axis="0 0 1" range="{_range(0)}" class="arm"/>
        <geom type="cylinder" size="0.035 0.035" pos="0 0 0.035" mass="0.4" rgba="{_LIGHT}" class="shown"/>
        <body name="upper_arm" pos="0 0 {SHOULDER_HEIGHT - 0.06}" gravcomp="1">
          <joint name="shoulder_lift" axis="0 -1 0" range="{_range(1)}" class="arm"/>
          <geom type="capsule" size="0.022" fromto="0 0 0 {UPPER_ARM} 0 0" mass="0.3" rgba="{_LIGHT}" class="shown"/>
          <body name="forearm" pos="{UPPER_ARM} 0 0" gravcomp="1">
            <joint name="elbow" axis="0 -1 0" range="{_range(2)}" class="arm"/>
            <geom type="capsule" size="0.019" fromto="0 0 0 {FOREARM} 0 0" mass="0.2" rgba="{_LIGHT}" class="shown"/>
            <body name="wrist" pos="{FOREARM} 0 0" gravcomp="1">
              <joint name="wrist_pitch" axis="0 -1 0" range="{_range(3)}" class="arm"/>
              <geom type="capsule" size="0.018" fromto="0 0 0 0.05 0 0" mass="0.08" rgba="{_DARK}" class="shown"/>
              <body name="hand" gravcomp="1">
                <joint name="wrist_roll" axis="1 0 0" range="{_range(4)}" class="arm"/>
                <geom name="palm" type="box" size="0.014 0.042 0.014" pos="0.075 0 0" mass="0.08" rgba="{_DARK}"
                      class="gripping"/>
                <site name="ee" pos="{TOOL} 0 0" size="0.004" rgba="0 0 0 0"/>
                <camera name="wrist" mode="fixed" pos="0.055 0 0.07" xyaxes="0 -1 0 0.55 0 0.835" fovy="85"/>
                {_finger("left_finger", 1)}
                {_finger("right_finger", -1)}
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>"""


def defaults_xml() -> str:
    """Default classes of the arm, to stand inside `<default>`. Only the gripper takes part in contacts."""
    return """
    <default class="shown"><geom contype="0" conaffinity="0"/></default>
    <default class="gripping"><geom friction="1.5 0.02 0.0005" condim="4" solref="0.01 1"/></default>
    <default class="arm"><joint armature="0.03" damping="0.5"/></default>"""


def actuators_xml() -> str:
    """Five position servos and one that moves both fingers; controls are target joint angles and finger travel."""
    servos = "".join(
        f'<position name="{joint}" joint="{joint}" kp="{SERVO_KP}" kv="{SERVO_KV}" ctrlrange="{_range(i)}"'
        f' forcerange="-{SERVO_FORCE} {SERVO_FORCE}"/>'
        for i, joint in enumerate(JOINTS)
    )
    return f"""
    <tendon>
      <fixed name="grip"><joint joint="left_finger" coef="0.5"/><joint joint="right_finger" coef="0.5"/></fixed>
    </tendon>
    <equality><joint joint1="left_finger" joint2="right_finger" polycoef="0 1 0 0 0" solref="0.005 1"/></equality>
    <actuator>
      {servos}
      <position name="grip" tendon="grip" kp="{GRIP_KP}" kv="{GRIP_KV}" ctrlrange="0 {FINGER_STROKE}"
                forcerange="-{GRIP_FORCE} {GRIP_FORCE}"/>
    </actuator>"""


def _range(joint: int) -> str:
    low, high = JOINT_RANGE[joint]
    return f"{low} {high}"
