"""Does a person's video teach a robot that has few demonstrations of its own?

A person's hand does the tasks of the embedded world before its front camera, among the same things, with the noise of
real clips on its landmarks; `hand_columns`, the stages `retarget` and `common_space` make episodes of that. The robot's
own demonstrations come from the expert and go through `common_space` too. The reference policy is trained on the
robot's few alone, and on both with equal shares, with the same steps; each is tried in scenes that neither has seen.

There is no target: the figures say what it brings, with intervals, whatever that is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.hand_replay import acted, read_as_arm, somebody, tracked
from bench.results import record
from collectors.egocentric.camera import Camera
from collectors.expert import ExpertCollector
from dataengine import hands
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.plugins import Policy
from dataengine.progress import track
from dataengine.sim import rotations
from dataengine.sim.demonstrate import demonstrate
from dataengine.sim.evaluate import Attempt, Rate, evaluate
from dataengine.sim.human_video import HumanScene, Pose
from dataengine.sim.scene import Still
from dataengine.sim.seeds import training_scene
from dataengine.sim.tasks import TASKS
from dataengine.sim.world import Tabletop
from dataengine.store.gather import append_all
from pipelines.common_space import CommonSpace
from pipelines.policy.config import PolicyConfig
from pipelines.retarget.hand import Poses

ARM, FRONT, SIZE, FPS = "six", "observation.images.front", 96, 10.0
FILMED = 480  # side of the pictures that the tracker saw [pixels]
HUMAN, ROBOT = "human_hands", "tabletop_arm_six"
TOOL_DOWN = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # axes of a tool that points down, as columns
SPACE = CommonSpace(cameras={FRONT: [FRONT]})


def main() -> None:
    from pipelines.policy.train import train

    parser = argparse.ArgumentParser(prog="python -m bench.cotraining", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["pick_red", "pick_blue"])
    parser.add_argument("--robot", type=int, default=10, help="demonstrations of every task by the robot")
    parser.add_argument("--human", type=int, default=100, help="videos of every task")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each kind")
    parser.add_argument("--attempts", type=int, default=100, help="at every task, of each training")
    parser.add_argument("--work", type=Path, default=Path("out/bench/cotraining"))
    args = parser.parse_args()
    tasks = tuple(args.tasks)
    robot, both = args.work / "robot", args.work / "both"
    if not both.exists():
        own = list(SPACE.run(robots(tasks, args.robot * len(tasks))))
        seen = track(SPACE.run(humans(tasks, args.human)), total=args.human * len(tasks), what="filming")
        append_all(own, robot)  # type: ignore[arg-type]
        append_all([*own, *seen], both)  # type: ignore[list-item]
    figures: dict[str, Any] = {"target": "none: with and without, whatever it says", "tasks": list(tasks)}
    figures |= {"robot_demonstrations": args.robot * len(tasks), "human_videos": args.human * len(tasks)}
    kinds: dict[str, tuple[Path, Mapping[str, float] | None]] = {
        "robot_alone": (robot, None),
        "with_human_video": (both, {ROBOT: 1.0, HUMAN: 1.0}),
        "human_video_alone": (both, {ROBOT: 0.0, HUMAN: 1.0}),
    }
    for name, (store, shares) in kinds.items():
        attempts: list[Attempt] = []
        single: list[float] = []
        for seed in range(args.seeds):
            config = PolicyConfig(steps=args.steps, seed=seed, shares=shares, holdout=0.0, image_size=64)
            run = args.work / f"{name}-{seed}"
            train(store, run, config, resume=True, cache=args.work / "pictures")
            found = evaluate(
                Loader(run), tasks=tasks, episodes=args.attempts * len(tasks), seed=0, workers=1, films=0,
                params={"arm": ARM, "cameras": ["front"]}, image_size=SIZE,
            )  # fmt: skip
            attempts += found.attempts
            single.append(Rate.of(found.attempts).to_json()["success"])
        figures[name] = {**Rate.of(attempts).to_json(), "by_training": single}
    figures |= {"steps": args.steps, "trainings": args.seeds}
    record("cotraining", figures, met=None)


def robots(tasks: tuple[str, ...], episodes: int) -> Iterator[Episode]:
    """The expert's demonstrations."""
    return ExpertCollector(episodes=episodes, tasks=tasks, arm=ARM, image_size=SIZE, cameras=("front",)).collect()


def humans(tasks: tuple[str, ...], scenes: int, first: int = 2000) -> Iterator[Episode]:
    """People who do every task in each of some scenes that the robot has not seen, read as a gripper. What the engine
    cuts out of a video is not there."""
    for number in range(first, first + scenes):
        for task in tasks:
            yield from filmed(number, task)


def filmed(number: int, task: str) -> Iterator[Episode]:
    """One video of one person, made episodes of the robot's actions."""
    world = Tabletop(tasks=(task,), arm=ARM, fps=FPS, cameras=())
    shown = demonstrate(world, training_scene(0, number), task, noise=0.004, recovery=0.0)
    if not shown.success:
        return
    person, kind = somebody(number), TASKS[task].scene
    names = world.body.state_names
    state = shown.columns["observation.state"].astype(float)
    pose = state[:, [names.index(name) for name in world.body.pose_names]]
    tool = Poses(pose[:, :3], rotations.matrix(pose[:, 3:]) @ TOOL_DOWN)
    act = acted(person, tool, state[:, names.index("gripper.pos")])
    with HumanScene(person, arm=ARM, kind=kind, size=SIZE) as scene:
        stills = [_still(world, kind, row) for row in shown.columns["sim.state"]]
        poses = [Pose(*each) for each in zip(act.angles, act.place, act.turn, strict=True)]
        pictures = np.stack([scene.render(still, pose) for still, pose in zip(stills, poses, strict=True)])
        eye, matrix = scene.camera, scene.camera.matrix * (FILMED / SIZE)
    middle = (FILMED - 1) / 2
    lens = Camera(width=FILMED, height=FILMED, fx=matrix[0, 0], fy=matrix[1, 1], cx=middle, cy=middle)
    stands = Poses(eye.place[None], eye.rotation[None])
    features = {key: feature for side in hands.SIDES for key, feature in hands.features(side).items()}
    features[FRONT] = Feature("video", (SIZE, SIZE, 3), ("height", "width", "channels"), "image")
    episode = Episode(
        id=f"human-{number}-{task}",
        fps=FPS,
        features=features,
        frames=tracked(person, act, stands, lens, FPS, number),
        clips={FRONT: ArrayClip(pictures, FPS)},
        meta=Meta(tasks=(shown.instruction,), embodiment=HUMAN, success=True, licence="apache-2.0"),
    ).check()
    for found in read_as_arm(person.side, stands).run(iter([episode])):
        if isinstance(found, Episode):
            yield found


def _still(world: Tabletop, kind: str, state: np.ndarray) -> Still:
    """What `sim.state` says, to be drawn."""
    model = world.scene.model
    spots = state[model.nq + model.nv :].reshape(-1, 3)[: model.nmocap]
    mocap = np.zeros((model.nmocap, 7))
    mocap[:, :2] = spots[:, :2]
    mocap[:, 3], mocap[:, 6] = np.cos(spots[:, 2] / 2), np.sin(spots[:, 2] / 2)
    return Still(ARM, kind, FPS, state[: model.nq], mocap)


class Loader:
    """Makes the policy, which sees only the elements it was trained on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Policy:
        from pipelines.policy.infer import load_policy

        return _Chosen(load_policy(self.folder))


class _Chosen:
    """A policy of the common space in a world that senses more."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        names = Tabletop(arm=ARM, cameras=()).body.state_names
        self._places = [names.index(name) for name in SPACE.elements]

    def reset(self) -> None:
        self.policy.reset()

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        state = observation["observation.state"][self._places]
        return self.policy.act({**observation, "observation.state": state}, instruction)


if __name__ == "__main__":
    main()
