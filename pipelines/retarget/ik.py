"""Inverse kinematics of one arm in a MuJoCo model: which joint angles bring its tool to a pose.

Gauss-Newton steps with Levenberg's damping, each a small quadratic program within bounds (daqp; Arnström et al. 2022,
IEEE TAC 67), until nothing moves: unlike control in real time it may think, so what is left over is out of reach, not
on its way. Bounds are the joints' ranges, and from one frame to the next what their speed allows. Nothing is integrated
and nothing collides here.
"""

from __future__ import annotations

import dataengine.sim  # noqa: F401 – says how MuJoCo shall draw before anybody imports it

# isort: split
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import daqp
import mujoco
import numpy as np

STEPS, ENOUGH = 40, 1e-7  # most steps, and a step [rad, m] after which nothing more is gained
STALLED = 1e-3  # of the cost: a full step that gains less leads nowhere
DAMPING = 1e-5  # of the first step; relative to the curvature of the cost in [m²]
TRIES = 24  # beginnings drawn over the joints' ranges, beside those near by
FAR = 1e3  # [rad, m] a limit beyond is none
SAME = 0.05  # [rad, m] between joints of what counts as one posture


class Solution(NamedTuple):
    """joints: `(J,)`. place, turn: what is left over [m], [rad]. cost: place² + (lever · turn)² [m²]."""

    joints: np.ndarray
    place: float
    turn: float
    cost: float


class Solver:
    """One arm. joints: names in the model, in order; site: the tool's. lever: metres that one radian counts for.

    data: shared with other arms of the model, so that each stands where it was put.
    """

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, joints: Sequence[str], site: str, lever: float
    ) -> None:
        self.model, self.data, self.lever = model, data, lever
        self.site = model.site(site).id
        found = [model.joint(name) for name in joints]
        self.qpos = np.array([joint.qposadr[0] for joint in found])
        self.dofs = np.array([joint.dofadr[0] for joint in found])
        limited = np.array([bool(model.jnt_limited[joint.id]) for joint in found])
        ranges = np.array([model.jnt_range[joint.id] for joint in found])
        self.low = np.where(limited & (ranges[:, 0] > -FAR), ranges[:, 0], -np.inf)
        self.high = np.where(limited & (ranges[:, 1] < FAR), ranges[:, 1], np.inf)
        self._jacobian = np.zeros((6, model.nv))
        self._no_rows = np.zeros((0, len(found)))

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the tool is: point `(3,)` and axes `(3, 3)` in the model's world, for joint angles `(J,)`."""
        self.data.qpos[self.qpos] = joints
        mujoco.mj_kinematics(self.model, self.data)
        return self.data.site_xpos[self.site].copy(), self.data.site_xmat[self.site].reshape(3, 3).copy()

    def near(
        self, point: np.ndarray, axes: np.ndarray, begin: np.ndarray, reach: np.ndarray | float = np.inf
    ) -> Solution:
        """The solution that is walked to from joint angles `begin` `(J,)`, none of them further than `reach` from it.

        point `(3,)`, axes `(3, 3)`: of the tool in the model's world.
        """
        low, high = np.maximum(self.low, begin - reach), np.minimum(self.high, begin + reach)
        best = self._judged(np.clip(begin, low, high), point, axes)
        damping = DAMPING
        for _ in range(STEPS):
            step = self._step(best.joints, point, axes, low, high, damping)
            after = self._judged(np.clip(best.joints + step, low, high), point, axes)
            if after.cost <= best.cost:
                stalled = damping <= DAMPING and after.cost > (1 - STALLED) * best.cost
                best, damping = after, max(damping / 10, 1e-12)
                if stalled or np.abs(step).max() < ENOUGH:
                    break
            elif damping > 1e3:
                break
            else:
                damping *= 10
        return best

    def postures(self, point: np.ndarray, axes: np.ndarray, near: np.ndarray) -> Iterator[Solution]:
        """Solutions as far as a few beginnings tell, each once: first the one walked to from `near` `(J,)`, then others
        (elbow up or down, wrist turned over). They may leave something over."""
        found = [self.near(point, axes, near)]
        yield found[0]
        low = np.where(np.isfinite(self.low), self.low, near - np.pi)
        high = np.where(np.isfinite(self.high), self.high, near + np.pi)
        drawn = np.random.default_rng(0).uniform(low, high, (TRIES, len(low)))
        for begin in (0.5 * (low + high), *drawn):
            one = self.near(point, axes, begin)
            if all(np.abs(one.joints - other.joints).max() > SAME for other in found):
                found.append(one)
                yield one

    def _judged(self, joints: np.ndarray, point: np.ndarray, axes: np.ndarray) -> Solution:
        error = self._error(joints, point, axes)
        place, turn = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
        return Solution(joints, place, turn, place**2 + (self.lever * turn) ** 2)

    def _error(self, joints: np.ndarray, point: np.ndarray, axes: np.ndarray) -> np.ndarray:
        """`(6,)`: how far the target is, and the rotation vector that is left, along the world's axes."""
        here, turned = self.forward(joints)
        quaternion, error = np.empty(4), np.empty(6)
        mujoco.mju_mat2Quat(quaternion, (axes @ turned.T).ravel())
        mujoco.mju_quat2Vel(error[3:], quaternion, 1.0)
        error[:3] = point - here
        return error

    def _step(
        self,
        joints: np.ndarray,
        point: np.ndarray,
        axes: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        damping: float,
    ) -> np.ndarray:
        """`(J,)`: the least squares of the linearised error within the bounds."""
        error = self._error(joints, point, axes)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_jacSite(self.model, self.data, self._jacobian[:3], self._jacobian[3:], self.site)
        weight = np.repeat([1.0, self.lever], 3)
        jacobian = self._jacobian[:, self.dofs] * weight[:, None]
        curve = jacobian.T @ jacobian
        curve.flat[:: len(curve) + 1] += damping * max(float(np.trace(curve)), 1e-6)
        slope = -jacobian.T @ (weight * error)
        bounds = [np.clip(edge - joints, -1e3, 1e3) for edge in (high, low)]
        step, _, flag, _ = daqp.solve(curve, slope, self._no_rows, *bounds)
        return np.asarray(step) if flag > 0 else np.zeros(len(joints))
