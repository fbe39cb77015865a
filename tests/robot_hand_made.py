"""A robot's hand with four fingers and sixteen joints, of about the size of an Allegro hand; a left one is its mirror
image, with the same angles. In the palm's frame z goes to the fingers, x out of the palm, y to the thumb's side of a
right hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.retarget.dexterous_config import HandConfig

TIPS = ("thumb_tip", "index_tip", "middle_tip", "ring_tip")
RANGES = ((-0.47, 0.47), (-0.20, 1.61), (-0.17, 1.71), (-0.23, 1.62))
THUMB_RANGES = ((0.0, 1.40), (-0.60, 0.80), (-0.20, 1.64), (-0.20, 1.72))
LINKS, THUMB_LINKS = (0.054, 0.0384, 0.0437), (0.055, 0.0514, 0.0459)
KNUCKLES = {"index": (0.0, 0.0435, 0.0984), "middle": (0.0, 0.0, 0.1000), "ring": (0.0, -0.0435, 0.0984)}
THUMB_ROOT = (0.010, 0.040, 0.035)


def hand_xml(side: str = "right", extra: str = "") -> str:
    mirror = np.array([1.0, 1.0 if side == "right" else -1.0, 1.0])
    fingers = "".join(
        _finger(name, root, np.array([0.0, 0.0, 1.0]), ("-1 0 0", "0 1 0", "0 1 0", "0 1 0"), RANGES, LINKS, mirror)
        for name, root in KNUCKLES.items()
    )
    ahead = np.array([0.1, 0.8, 0.6]) / np.linalg.norm([0.1, 0.8, 0.6])
    axes = ("0 0 -1", "1 0 0", "0.2 -0.55 0.75", "0.2 -0.55 0.75")
    thumb = _finger("thumb", THUMB_ROOT, ahead, axes, THUMB_RANGES, THUMB_LINKS, mirror)
    return f"""<mujoco><compiler angle="radian" autolimits="true"/>
      <worldbody><body name="palm" pos="0.3 0.1 0.2" euler="0.4 -0.2 0.9">
        <geom type="box" size="0.015 0.06 0.045" pos="0 0 0.05"/>
        {thumb}{fingers}
      </body></worldbody>{extra}</mujoco>"""


def _finger(name: str, root: Any, ahead: np.ndarray, axes: Any, ranges: Any, links: Any, mirror: np.ndarray) -> str:
    def numbers(vector: Any) -> str:
        return " ".join(f"{number:.9g}" for number in vector)

    def joint(n: int) -> str:
        axis = np.array([float(number) for number in axes[n].split()]) * mirror * mirror.prod()
        return f'<joint name="{name}_{n}" axis="{numbers(axis)}" range="{ranges[n][0]} {ranges[n][1]}"/>'

    along = [ahead * mirror * length for length in links]
    inner = f'<site name="{name}_tip" pos="{numbers(along[2])}"/>'
    for n in (2, 1, 0):
        start = np.array(root) * mirror if n == 0 else along[n - 1]
        joints = joint(0) + joint(1) if n == 0 else joint(n + 1)
        geom = f'<geom type="capsule" fromto="0 0 0 {numbers(along[n])}" size="0.012"/>'
        inner = f'<body name="{name}_link{n}" pos="{numbers(start)}">{joints}{geom}{inner}</body>'
    return inner


def hand_config(folder: Path, side: str = "right", *, extra: str = "", **more: Any) -> HandConfig:
    path = folder / f"robot_hand_{side}.xml"
    path.write_text(hand_xml(side, extra))
    return HandConfig(str(path), "palm", TIPS, fingers=(0.0, 0.0, 1.0), out=(1.0, 0.0, 0.0), side=side, **more)
