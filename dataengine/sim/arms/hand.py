"""The hand both arms have: a parallel gripper with two sliding fingers and a camera at the wrist."""

from __future__ import annotations

FINGERS = ("left_finger", "right_finger")
GRIPPER = "gripper.pos"  # the opening's name in state and action

TOOL = 0.13  # [m] last pitch axis to the point between the finger pads
FINGER_TIP = 0.008  # [m] how far the fingers reach beyond that point
FINGER_STROKE = 0.035  # [m] travel of each finger from closed to open; the jaw opens twice as far

GRIP_KP, GRIP_KV, GRIP_FORCE = 900.0, 40.0, 14.0

DARK = "0.20 0.21 0.24 1"
TIP = "0.95 0.75 0.15 1"


def _finger(name: str, side: int) -> str:
    return f"""
              <body name="{name}" pos="{TOOL} 0 0" gravcomp="1">
                <joint name="{name}" type="slide" axis="0 {side} 0" range="0 {FINGER_STROKE}" armature="0.02"
                       damping="1"/>
                <geom name="{name}_pad" type="box" size="0.024 0.004 0.009" pos="{FINGER_TIP - 0.024} {side * 0.004} 0"
                      mass="0.02" rgba="{TIP}" class="gripping"/>
              </body>"""


def hand_xml(joint: str) -> str:
    """The hand's body tree, to stand inside the wrist. joint: the XML of the joint that turns it."""
    return f"""<body name="hand" gravcomp="1">
                {joint}
                <geom name="palm" type="box" size="0.014 0.042 0.014" pos="0.075 0 0" mass="0.08" rgba="{DARK}"
                      class="gripping"/>
                <site name="ee" pos="{TOOL} 0 0" size="0.004" rgba="0 0 0 0"/>
                <camera name="wrist" mode="fixed" pos="0.055 0 0.07" xyaxes="0 -1 0 0.55 0 0.835" fovy="85"/>
                {_finger("left_finger", 1)}
                {_finger("right_finger", -1)}
              </body>"""


def defaults_xml() -> str:
    """Default classes of the arms, to stand inside `<default>`. Only the gripper takes part in contacts."""
    return """
    <default class="shown"><geom contype="0" conaffinity="0"/></default>
    <default class="gripping"><geom friction="1.5 0.02 0.0005" condim="4" solref="0.01 1"/></default>
    <default class="arm"><joint armature="0.03" damping="0.5"/></default>"""


def actuators_xml(servos: str) -> str:
    """An arm's servos and one that moves both fingers; its control is the finger's travel [m]."""
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
