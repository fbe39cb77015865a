"""MANO, a model of the hand (Romero, Tzionas & Black 2017, "Embodied Hands"), as far as joints and fingertips need it.

The model is a person's own: its licence lets nobody pass it on. It is an `.npz` with the names of the original file:

    v_template (V, 3), shapedirs (V, 3, 10), posedirs (V, 3, 135), J_regressor (16, V), weights (V, 16),
    kintree_table (2, 16) or parents (16,), hands_mean (45,), hands_components (45, 45)

and optionally `tips` (5,), the vertices of the fingertips from the thumb on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine.errors import SourceError
from dataengine.guard import load_npz

JOINTS, TIPS = 16, 5
# The joints are the wrist, then three of each finger in the order index, middle, little, ring, thumb; the fingertips
# follow from the thumb on. By our number, theirs.
FROM_MANO = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
TIP_VERTICES = (744, 320, 443, 554, 671)  # of the fingertips, as smplx chooses them (vertex_ids.py)
MOST_BYTES = 256 << 20
MOST_VERTICES = 100_000
BLOCK = 8192  # frames that are posed at once
SAME = 1e-3  # relative difference of two models' shapes below which the left is the right's unmirrored
TO_NPZ = (
    "with numpy, scipy and chumpy: d = pickle.load(open('MANO_RIGHT.pkl', 'rb'), encoding='latin1'); "
    "d['J_regressor'] = d['J_regressor'].toarray(); numpy.savez('MANO_RIGHT.npz', **{k: numpy.array(d[k]) for k in "
    "('v_template', 'shapedirs', 'posedirs', 'J_regressor', 'weights', 'kintree_table', 'hands_mean', "
    "'hands_components')})"
)


@dataclass(frozen=True)
class Mano:
    """joints `(16, 3)`, joint_shapes `(16, 3, B)`: at rest, and their change with the shape. tips `(5, 3)`,
    tip_shapes `(5, 3, B)`, tip_poses `(5, 3, 135)`, tip_weights `(5, 16)`: of the vertices that are fingertips.
    parents `(16,)`, -1 of the wrist. mean `(45,)`, components `(45, 45)`: of the pose."""

    joints: np.ndarray
    joint_shapes: np.ndarray
    tips: np.ndarray
    tip_shapes: np.ndarray
    tip_poses: np.ndarray
    tip_weights: np.ndarray
    parents: np.ndarray
    mean: np.ndarray
    components: np.ndarray

    def pose(self, shape: np.ndarray, pose: np.ndarray, place: np.ndarray) -> np.ndarray:
        """`(T, 21, 3)`: joints and fingertips in MANO's order [m].

        shape: `(T, B)`. pose: `(T, 16, 3)` axis-angles, the wrist's first, relative to the joint before. place:
        `(T, 3)`, added to everything; the wrist's joint lies beside the origin of the model, so it is not the wrist.
        """
        found = np.empty((len(pose), JOINTS + TIPS, 3))
        for start in range(0, len(pose), BLOCK):
            part = slice(start, start + BLOCK)
            found[part] = self._pose(shape[part], pose[part]) + place[part, None]
        return found

    def _pose(self, shape: np.ndarray, pose: np.ndarray) -> np.ndarray:
        turns = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(-1, JOINTS, 3, 3)
        rest = self.joints + np.einsum("jxb,tb->tjx", self.joint_shapes, shape)
        turned, placed = turns.copy(), rest.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:  # equation 4 of the paper: each joint turns on the one before
                turned[:, joint] = turned[:, parent] @ turns[:, joint]
                bone = (rest[:, joint] - rest[:, parent])[..., None]
                placed[:, joint] = placed[:, parent] + (turned[:, parent] @ bone)[..., 0]
        bent = (turns[:, 1:] - np.eye(3)).reshape(len(pose), -1)
        tips = self.tips + np.einsum("nxb,tb->tnx", self.tip_shapes, shape) + np.einsum(
            "nxp,tp->tnx", self.tip_poses, bent
        )  # fmt: skip
        moved = placed[:, None] + np.einsum("tjxy,tnjy->tnjx", turned, tips[:, :, None] - rest[:, None])
        return np.concatenate([placed, np.einsum("nj,tnjx->tnx", self.tip_weights, moved)], 1)

    def fingers(self, hand: np.ndarray, *, components: bool, mean: bool) -> np.ndarray:
        """`(T, 15, 3)` axis-angles of the fingers' joints, of themselves `(T, 45)` or of coefficients `(T, n)` of the
        first n components. mean: add the model's mean pose, as smplx does unless `flat_hand_mean` is set."""
        angles = hand @ self.components[: hand.shape[1]] if components else hand
        return (angles + (self.mean if mean else 0.0)).reshape(-1, JOINTS - 1, 3)


def read_model(path: Path) -> Mano:
    """Raises `SourceError` for what is no such model, `UnsafeSource` for pickles and bombs."""
    if path.suffix.lower() in (".pkl", ".pickle"):
        raise SourceError(path, "is a pickle, which may run code and is not read", hint=f"make an npz of it: {TO_NPZ}")
    if not path.is_file():
        raise SourceError(path, "there is no such file: MANO's model is needed", hint=f"an npz, made so: {TO_NPZ}")
    given = load_npz(path, MOST_BYTES)
    count = len(given["v_template"]) if "v_template" in given and given["v_template"].ndim else 0
    if not 0 < count <= MOST_VERTICES:
        raise SourceError(path, f"has no v_template of 1 to {MOST_VERTICES} vertices")
    vertices = _array(given, "v_template", (count, 3), path)
    shapes = _array(given, "shapedirs", (count, 3, None), path)
    poses = _array(given, "posedirs", (count, 3, 9 * (JOINTS - 1)), path)
    regressor = _array(given, "J_regressor", (JOINTS, count), path)
    weights = _array(given, "weights", (count, JOINTS), path)
    tips = _tips(given, count, path)
    return Mano(
        joints=regressor @ vertices,
        joint_shapes=np.einsum("jv,vxb->jxb", regressor, shapes),
        tips=vertices[tips],
        tip_shapes=shapes[tips],
        tip_poses=poses[tips],
        tip_weights=weights[tips],
        parents=_parents(given, path),
        mean=_array(given, "hands_mean", (45,), path),
        components=_array(given, "hands_components", (45, 45), path),
    )


def mirrored(left: Mano, right: Mano) -> Mano | None:
    """The left model with shapes that are the right's mirror image, where the file has them unmirrored, as the one that
    is handed out does (smplx issue 48; HOT3D's reader mends it too); None where nothing is wrong."""
    if left.joint_shapes.shape != right.joint_shapes.shape:
        return None
    apart = sum(np.abs(getattr(left, what)[:, 0] - getattr(right, what)[:, 0]).sum() for what in _SHAPES)
    scale = sum(np.abs(getattr(right, what)[:, 0]).sum() for what in _SHAPES)
    if scale == 0 or apart >= SAME * scale:
        return None
    mend = np.array([-1.0, 1.0, 1.0])[None, :, None]
    return replace(left, joint_shapes=left.joint_shapes * mend, tip_shapes=left.tip_shapes * mend)


_SHAPES = ("joint_shapes", "tip_shapes")


def _array(given: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...], path: Path) -> np.ndarray:
    if name not in given:
        raise SourceError(path, f"has no {name}", hint=f"an npz of MANO's model, made so: {TO_NPZ}")
    array = given[name]
    fits = array.ndim == len(shape) and all(want in (None, is_) for want, is_ in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise SourceError(path, f"{name} has shape {array.shape} of {array.dtype}, not finite numbers {shape}")
    return array.astype(np.float64)


def _tips(given: dict[str, np.ndarray], count: int, path: Path) -> list[int]:
    named = _array(given, "tips", (TIPS,), path).astype(int).tolist() if "tips" in given else list(TIP_VERTICES)
    if not all(0 <= vertex < count for vertex in named):
        raise SourceError(path, f"has {count} vertices; the fingertips are {named}")
    return named


def _parents(given: dict[str, np.ndarray], path: Path) -> np.ndarray:
    if "parents" in given:
        parents = _array(given, "parents", (JOINTS,), path).astype(np.int64)
    else:  # the wrist's parent is written as 2^32 - 1
        parents = _array(given, "kintree_table", (2, JOINTS), path)[0].astype(np.int64)
    parents[0] = -1
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, JOINTS)).any():
        raise SourceError(path, f"its joints do not hang on one another from the wrist: {parents.tolist()}")
    return parents
