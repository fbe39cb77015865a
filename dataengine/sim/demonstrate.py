"""One demonstration: the expert acts in a scene, its clean actions are kept while noisier ones are carried out.

That way of widening what is seen without teaching mistakes is DART (Laskey et al., 2017, arXiv:1703.09327,
section IV, with a fixed noise instead of a fitted one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataengine.sim.base import Demonstration
from dataengine.sim.expert import Expert
from dataengine.sim.rules.base import CLOSED, OPEN
from dataengine.sim.spaces import diagnostics
from dataengine.sim.truth import columns as truth_columns
from dataengine.sim.truth import features as truth_features

if TYPE_CHECKING:
    from dataengine.sim.world import Tabletop

AFTER = 0.3  # [s] that are still kept after success
CORRELATION = 0.5  # of the noise from one tenth of a second to the next
STAGINGS = 6  # ways to miss that are tried before an episode begins as usual
ANGLE_NOISE = 8.0  # [rad/m] noise of the angles for each metre of noise of the position


def demonstrate(
    world: Tabletop, seed: int, task: str, *, noise: float, recovery: float, attempt: int = 0
) -> Demonstration:
    """Do `task` in the scene of `seed`.

    noise: standard deviation [m] of what is added to the carried-out tool target. recovery: the chance that the
    episode begins where an empty grasp has ended, so that getting out of it is shown. attempt: gives another
    style and noise in the same scene.
    """
    observation, _ = world.reset(seed=seed, options={"task": task})
    rng = np.random.default_rng([seed, *task.encode(), attempt])
    staged = rng.random() < recovery and bool(world.task.grasps) and stage_empty_grasp(world, rng)
    if staged:
        observation = world.observe()
    expert = Expert(world.scene, world.task, rng)
    keep = CORRELATION ** (10 / world.fps)
    size = len(world.body.pose_names)
    scale = np.array([1, 1, 1, *[ANGLE_NOISE] * (size - 3)])
    drift = np.zeros(size)
    padding = _state_size(world) - len(world.scene.state)
    rows: list[dict[str, np.ndarray | float | bool]] = []
    left = round(AFTER * world.fps)
    while True:
        action = expert.act()
        drift = keep * drift + np.sqrt(1 - keep**2) * noise * rng.normal(size=size) * scale
        executed = (action + np.append(drift, 0.0)).astype(np.float32)
        row = {
            **observation,
            "action": action,
            "collect.executed_action": executed,
            "sim.state": np.pad(world.scene.state, (0, padding)),
            **(truth_columns(world.scene, world.truth, world.kinds) if world.truth else {}),
        }
        observation, reward, _, truncated, info = world.step(executed)
        done = truncated or info["wrong_object"] or (info["is_success"] and left == 0)
        left -= info["is_success"]
        rows.append({**row, "next.reward": reward, "next.success": info["is_success"], "next.done": done})
        if done:
            break
    columns = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}
    columns["next.reward"] = columns["next.reward"].astype(np.float32)
    told = truth_features(world.truth, world.kinds)
    return Demonstration(
        features={**world.features, **diagnostics(world.body, columns["sim.state"].shape[1]), **told},
        columns={key: column for key, column in columns.items() if not key.startswith("observation.images.")},
        pictures={key: column for key, column in columns.items() if key.startswith("observation.images.")},
        instruction=world.instruction,
        success=bool(info["is_success"]),
        extra={"task": task, "recovery": staged, "wrong_object": bool(info["wrong_object"]), "attempt": attempt},
    )


def stage_empty_grasp(world: Tabletop, rng: np.random.Generator) -> bool:
    """Bring the arm to where a missed grasp ends: closed beside the target, on the table or already lifted.

    Gives False, with the scene as it was, where no way was found that moves no thing.
    """
    scene, target, arm = world.scene, world.task.grasps, world.body
    start = scene.snapshot()
    before = {name: scene.position(name) for name in scene.kind.thing}
    pause = world.fps / 10
    for _ in range(STAGINGS):
        yaw = scene.tool[3] + rng.uniform(-0.6, 0.6)
        # Missed across the jaw: along it, a finger would have come down on the thing.
        way = yaw + rng.choice([0.0, np.pi]) + rng.uniform(-0.6, 0.6)
        beside = before[target][:2] + rng.uniform(0.028, 0.05) * np.array([np.cos(way), np.sin(way)])
        over, down = np.array([*beside, 0.07, yaw]), np.array([*beside, rng.uniform(0.014, 0.03), yaw])
        lifted = np.array([*beside, down[2] + rng.choice([0.0, rng.uniform(0.01, 0.07)]), yaw])
        for place, opening, steps in ((over, OPEN, 6), (down, OPEN, 4), (down, CLOSED, 4), (lifted, CLOSED, 3)):
            for _ in range(round(steps * pause)):
                world.advance(np.array([*arm.upright(place), opening]))
        if all(np.linalg.norm(scene.position(name) - place) < 0.002 for name, place in before.items()):
            return True
        scene.restore(start)
    return False


def _state_size(world: Tabletop) -> int:
    """Length of the longest state of the world's kinds; shorter ones are filled up with zeros."""
    return max(world.scene_of(kind.name).state_size for kind in world.kinds)
