"""One demonstration: the expert acts in a scene, its clean actions are kept while noisier ones are carried out.

That way of widening what is seen without teaching mistakes is DART (Laskey et al., 2017, arXiv:1703.09327,
section IV, with a fixed noise instead of a fitted one).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dataengine.sim.base import Demonstration
from dataengine.sim.expert import CLOSED, OPEN, Expert
from dataengine.sim.spaces import diagnostics

if TYPE_CHECKING:
    from dataengine.sim.world import Tabletop

AFTER = 3  # steps that are still kept after success
CORRELATION = 0.5  # of the noise from one step to the next
STAGINGS = 6  # ways to miss that are tried before an episode begins as usual
YAW_NOISE = 8.0  # [rad/m] noise of the yaw for each metre of noise of the position


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
    staged = rng.random() < recovery and world.task.kind != "push" and stage_empty_grasp(world, rng)
    if staged:
        observation = world.observe()
    expert = Expert(world.scene, world.task, rng)
    drift = np.zeros(4)
    rows: list[dict[str, np.ndarray | float | bool]] = []
    left = AFTER
    while True:
        action = expert.act()
        drift = CORRELATION * drift + np.sqrt(1 - CORRELATION**2) * noise * rng.normal(size=4) * [1, 1, 1, YAW_NOISE]
        executed = (action + np.append(drift, 0.0)).astype(np.float32)
        row = {**observation, "action": action, "collect.executed_action": executed, "sim.state": world.scene.state}
        observation, reward, _, truncated, info = world.step(executed)
        done = truncated or info["wrong_object"] or (info["is_success"] and left == 0)
        left -= info["is_success"]
        rows.append({**row, "next.reward": reward, "next.success": info["is_success"], "next.done": done})
        if done:
            break
    columns = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}
    columns["next.reward"] = columns["next.reward"].astype(np.float32)
    return Demonstration(
        features={**world.features, **diagnostics(columns["sim.state"].shape[1])},
        columns={key: column for key, column in columns.items() if not key.startswith("observation.images.")},
        pictures={key: column for key, column in columns.items() if key.startswith("observation.images.")},
        instruction=world.instruction,
        success=bool(info["is_success"]),
        extra={"task": task, "recovery": staged, "wrong_object": bool(info["wrong_object"]), "attempt": attempt},
    )


def stage_empty_grasp(world: Tabletop, rng: np.random.Generator) -> bool:
    """Bring the arm to where a missed grasp ends: closed beside the target, on the table or already lifted.

    Gives False, with the scene as it was, where no way was found that moves no cube.
    """
    scene, target = world.scene, world.task.target
    start = scene.snapshot()
    before = {colour: scene.cube(colour) for colour in (target, *world.task.others)}
    for _ in range(STAGINGS):
        yaw = scene.tool[3] + rng.uniform(-0.6, 0.6)
        # Missed across the jaw: along it, a finger would have come down on the cube.
        way = yaw + rng.choice([0.0, np.pi]) + rng.uniform(-0.6, 0.6)
        beside = before[target][:2] + rng.uniform(0.028, 0.05) * np.array([np.cos(way), np.sin(way)])
        over, down = np.array([*beside, 0.07, yaw]), np.array([*beside, rng.uniform(0.014, 0.03), yaw])
        lifted = np.array([*beside, down[2] + rng.choice([0.0, rng.uniform(0.01, 0.07)]), yaw])
        for pose, opening, steps in ((over, OPEN, 6), (down, OPEN, 4), (down, CLOSED, 4), (lifted, CLOSED, 3)):
            for _ in range(steps):
                world.advance(np.array([*pose, opening]))
        if all(np.linalg.norm(scene.cube(colour) - place) < 0.002 for colour, place in before.items()):
            return True
        scene.restore(start)
    return False
