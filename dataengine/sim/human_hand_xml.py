"""The model of a human hand as MuJoCo reads it: bones, joints with their ranges, skin, and cameras that look at it."""

from __future__ import annotations

import numpy as np

from dataengine import hands

# Ranges of joints [degrees]: normal active motion of adults (American Academy of Orthopaedic Surgeons 1965, "Joint
# Motion"), abduction with the fingers straight. A thumb's first joint is a saddle; it stands here as three hinges.
_FINGER = {"abduction": (-20, 20), "mcp": (-30, 90), "pip": (-5, 105), "dip": (-5, 80)}
_THUMB = {"abduction": (-10, 60), "adduction": (-20, 45), "twist": (-15, 50), "mcp": (-10, 60), "ip": (-15, 80)}
_RANGES = {f"thumb_{joint}": limits for joint, limits in _THUMB.items()} | {
    f"{finger}_{joint}": limits for finger in hands.FINGERS[1:] for joint, limits in _FINGER.items()
}
JOINTS = tuple(_RANGES)
LIMITS = np.deg2rad(np.array(list(_RANGES.values()), np.float64))  # `(21, 2)`

# With all angles zero: where a finger points, and how the thumb's tip moves when it bends.
_AHEAD = {"index": 4.0, "middle": 0.0, "ring": -4.0, "little": -9.0}  # [degrees] to the thumb's side
_THUMB_AHEAD = np.array([0.80, 0.55, 0.25]) / np.linalg.norm([0.80, 0.55, 0.25])
_THUMB_BENDS = np.array([-0.35, 0.15, 0.95])

_PALM_RADIUS = 0.011
_RADII = {"thumb": (0.0105, 0.0095, 0.0085), "little": (0.0075, 0.0070, 0.0065)}
_USUAL_RADII = (0.0085, 0.0080, 0.0072)
_SKIN = "0.87 0.66 0.54 1"
_NAIL = "0.95 0.80 0.74 1"

# Cameras: where they are, what they look at, and vertical field of view [degrees]. The first is the person's own.
_VIEWS = {
    "ego": ((0.02, -0.30, 0.55), (0.0, 0.12, 0.18), 52.0),
    "front": ((0.10, 0.75, 0.45), (0.0, 0.10, 0.20), 44.0),
    "side": ((-0.65, 0.05, 0.35), (0.0, 0.12, 0.20), 46.0),
}
CAMERAS = tuple(_VIEWS)


def shape_of(size: float, person: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of the palm `(6, 3)` of a right hand, and the lengths `(15,)` of `hands.PHALANGES`."""
    palm, lengths = hands.RIGHT_PALM.copy(), np.array([length for *_, length in hands.PHALANGES])
    if person is not None:
        rng = np.random.default_rng(person)
        palm[1:] += rng.normal(0, 0.003, (5, 3))
        lengths *= 1 + np.clip(rng.normal(0, 0.05, 15), -0.12, 0.12)
    return palm * (size / np.linalg.norm(palm[3])), lengths * (size / hands.SIZE)


def hand_xml(palm: np.ndarray, lengths: np.ndarray, side: str) -> str:
    mirror = np.array([1.0 if side == "right" else -1.0, 1.0, 1.0])
    flesh = "".join(
        f'<geom type="capsule" fromto="{_text(palm[a] * mirror)} {_text(palm[b] * mirror)}" size="{_PALM_RADIUS}"/>'
        for a, b in ((0, 2), (0, 3), (0, 4), (0, 5), (2, 3), (3, 4), (4, 5), (0, 1), (1, 2))
    )
    fingers = "".join(
        _finger_xml(name, palm[1 + n] * mirror, lengths[3 * n : 3 * n + 3], mirror)
        for n, name in enumerate(hands.FINGERS)
    )
    cameras = "".join(_camera_xml(name) for name in CAMERAS)
    return f"""
<mujoco model="human hand">
  <compiler angle="radian" autolimits="true"/>
  <visual>
    <quality shadowsize="0" offsamples="4"/>
    <headlight ambient="0.4 0.4 0.4" diffuse="0.4 0.4 0.4" specular="0.1 0.1 0.1"/>
    <global offwidth="1920" offheight="1080"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <statistic extent="1"/>
  <default><geom rgba="{_SKIN}" contype="0" conaffinity="0"/><site size="0.002" rgba="0 0 0 0"/></default>
  <worldbody>
    <light pos="0.4 -0.4 1.5" dir="-0.2 0.3 -1" diffuse="0.5 0.5 0.5" specular="0 0 0" castshadow="false"/>
    <geom type="plane" size="2 2 0.1" rgba="0.42 0.45 0.48 1"/>
    {cameras}
    <body name="hand"><freejoint/>
      <site name="wrist"/>{flesh}{fingers}
    </body>
  </worldbody>
</mujoco>"""


def _finger_xml(name: str, root: np.ndarray, lengths: np.ndarray, mirror: np.ndarray) -> str:
    """Three bones, one in the other. All bodies have the palm's axes while the angles are zero."""
    first: tuple[tuple[str, np.ndarray], ...]
    if thumb := name == "thumb":
        ahead, bends = _THUMB_AHEAD, _THUMB_BENDS - (_THUMB_BENDS @ _THUMB_AHEAD) * _THUMB_AHEAD
    else:
        aside = np.deg2rad(_AHEAD[name])
        ahead, bends = np.array([np.sin(aside), np.cos(aside), 0.0]), np.array([0.0, 0.0, 1.0])
    bends = bends / np.linalg.norm(bends)
    axis = np.cross(ahead, bends)  # a right-handed turn about it takes `ahead` to `bends`
    up = np.array([0.0, 0.0, 1.0])
    if thumb:
        first = (("abduction", np.cross(ahead, up)), ("adduction", up), ("twist", -ahead))
        names = ("cmc", "mcp", "ip", "tip")
    else:
        first = (("abduction", -up if name in ("index", "middle") else up), ("mcp", axis))
        names = ("mcp", "pip", "dip", "tip")
    joints = (first, ((names[1], axis),), ((names[2], axis),))
    xml, radii = "", _RADII.get(name, _USUAL_RADII)
    for bone in (2, 1, 0):
        hinges = "".join(_joint_xml(f"{name}_{joint}", turn, mirror) for joint, turn in joints[bone])
        start, along = (root if bone == 0 else ahead * mirror * lengths[bone - 1]), ahead * lengths[bone]
        end = along if bone < 2 else along - ahead * radii[2]  # the skin ends where the tip is
        geom = f'<geom name="{name}_{names[bone + 1]}" type="capsule" fromto="0 0 0 {_text(end * mirror)}" '
        inner = xml if bone < 2 else _tip_xml(name, along, ahead, bends, radii[2], mirror)
        xml = f"""<body pos="{_text(start)}">{hinges}<site name="{name}_{names[bone]}"/>
                  {geom}size="{radii[bone]}"/>{inner}</body>"""
    return xml


def _tip_xml(
    name: str, along: np.ndarray, ahead: np.ndarray, bends: np.ndarray, radius: float, mirror: np.ndarray
) -> str:
    """The last landmark, and the middle of the finger's pad, which is what touches in a pinch; a nail for the eye."""
    middle = along - ahead * radius
    return f"""<site name="{name}_tip" pos="{_text(along * mirror)}"/>
        <site name="{name}_pad" pos="{_text((middle + bends * radius) * mirror)}" group="4"/>
        <geom type="sphere" pos="{_text((middle - bends * 0.4 * radius) * mirror)}" size="{0.72 * radius}"
              rgba="{_NAIL}"/>"""


def _joint_xml(name: str, axis: np.ndarray, mirror: np.ndarray) -> str:
    low, high = np.deg2rad(_RANGES[name])
    # An axis is a pseudovector: seen in the mirror the same angle turns about the mirrored axis the other way.
    axis = axis * mirror * mirror.prod()
    return f'<joint name="{name}" axis="{_text(axis)}" range="{low:.6f} {high:.6f}"/>'


def _camera_xml(name: str) -> str:
    place, looked_at, fovy = _VIEWS[name]
    back = np.subtract(place, looked_at) / np.linalg.norm(np.subtract(place, looked_at))
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    axes = f"{_text(right)} {_text(np.cross(back, right))}"
    return f'<camera name="{name}" pos="{_text(np.array(place))}" xyaxes="{axes}" fovy="{fovy}"/>'


def _text(numbers: np.ndarray) -> str:
    return " ".join(f"{number:.9g}" for number in numbers)
