"""A person's hand on the tabletop where the arm was: what a camera sees of somebody who does a task.

The hand of `human_hand.py` is put into the scene of a kind and the arm is not drawn. Nothing touches it: it goes along
with a state of the scene that was had otherwise, such as a demonstration's. Frames as in `cameras.py` and
`human_hand.py`; the world is the arm's base. Lengths in m.
"""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.cameras import quick_renderer
from dataengine.sim.human_hand import Camera, HumanHand
from dataengine.sim.human_hand_xml import hand_xml
from dataengine.sim.model import CAMERAS, model_xml
from dataengine.sim.scene import Still

PREFIX = "person_"
HIDDEN = 4  # a group of geoms that renderers leave out


class Pose(NamedTuple):
    """angles: `(21,)` of `human_hand_xml.JOINTS`. place: `(3,)` of the wrist and rotation: `(3, 3)` of the palm, in the
    base frame."""

    angles: np.ndarray
    place: np.ndarray
    rotation: np.ndarray


class HumanScene:
    """Pictures of one person's hand among the things of a kind of scene, by a fixed camera; used by one thread, closed
    by `close` or as a context."""

    def __init__(self, person: HumanHand, *, arm: str, kind: str, camera: str = "front", size: int = 96) -> None:
        """size: side of the pictures [pixels]. Raises `ConfigError` for a camera that does not stand still."""
        if camera not in CAMERAS or camera == "wrist":
            raise ConfigError(f"a hand is filmed by front or side, not {camera!r}")
        self.camera_name, self._size = camera, size
        spec = mujoco.MjSpec.from_string(model_xml(arm, kind, 10.0))
        hand = mujoco.MjSpec.from_string(hand_xml(person.palm, person.lengths, person.side))
        spec.worldbody.add_frame().attach_body(hand.body("hand"), PREFIX, "")
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self._hide_arm(self.model.body("hand").rootid[0])
        self._renderer = quick_renderer(self.model, size)

    def render(self, still: Still, pose: Pose) -> np.ndarray:
        """`(size, size, 3)` uint8 of a scene with the hand in it."""
        turned: np.ndarray = np.empty(4)
        mujoco.mju_mat2Quat(turned, np.ascontiguousarray(pose.rotation, np.float64).ravel())
        self.data.qpos[:] = np.concatenate([still.qpos, pose.place, turned, pose.angles])
        self.data.mocap_pos[:], self.data.mocap_quat[:] = still.mocap[:, :3], still.mocap[:, 3:]
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        self._renderer.update_scene(self.data, camera=self.camera_name)
        return self._renderer.render()

    @property
    def camera(self) -> Camera:
        """Where it stands in the base frame, and its intrinsics for pictures of this size."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        which = self.model.camera(self.camera_name).id
        focal = self._size / 2 / np.tan(np.deg2rad(self.model.cam_fovy[which]) / 2)
        middle = (self._size - 1) / 2  # pixel centres lie at whole numbers
        matrix = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
        # MuJoCo's cameras look along -z with y up.
        rotation = self.data.cam_xmat[which].reshape(3, 3) * [1, -1, -1]
        return Camera(matrix, self.data.cam_xpos[which].copy(), rotation)

    def __enter__(self) -> HumanScene:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._renderer.close()

    def _hide_arm(self, root: int) -> None:
        of = self.model.body_rootid[self.model.geom_bodyid]
        self.model.geom_group[of == root] = HIDDEN
