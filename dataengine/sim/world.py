"""The tabletop: an instruction, an arm, things and furniture; `reset` and `step` as in Gymnasium.

What is sensed and told stands in `spaces.py`. An action out of the arm's reach is drawn in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.sim.arms import ARMS
from dataengine.sim.base import Demonstration, Kinematics
from dataengine.sim.cameras import What, render
from dataengine.sim.demonstrate import demonstrate
from dataengine.sim.kinds import KINDS, Kind
from dataengine.sim.model import CAMERAS
from dataengine.sim.scene import Scene, Still
from dataengine.sim.seeds import EVALUATION
from dataengine.sim.spaces import spaces
from dataengine.sim.tasks import TASKS, Task, task_named, tasks_of
from dataengine.sim.truth import Segmentation, Truth, segmentation, truth

FPS = 10.0
SLOWEST, FASTEST = 5.0, 100.0  # [Hz]


class Snapshot(NamedTuple):
    """The whole state of a tabletop."""

    task: str
    phrase: int
    steps: int
    physics: np.ndarray
    rng: dict[str, Any]


@dataclass(eq=False)
class Tabletop:
    """`reset` and `step` as in Gymnasium (`gym_env.py` registers it there); observations are keyed like features.

    tasks: names out of `dataengine.sim.tasks.TASKS` that a reset without `options={"task": …}` draws from; the task
    says which kind of scene it is. image_size: side of the pictures [pixels]. cameras: which to render; none is
    fastest. phrasing: every task's usual instruction, or one of its paraphrases, by seed. arm: "five" or "six" joints.
    fps: actions a second. depth: cameras that also give distances. truth: what demonstrations hold beside, of "poses"
    and "contacts".
    An attempt ends (`terminated`) with `info["is_success"]` or `info["wrong_object"]`, or by its time (`truncated`).
    The reward is the task's progress, 0 to 1.
    """

    tasks: tuple[str, ...] = ("pick_red", "pick_blue")
    image_size: int = 96
    cameras: tuple[str, ...] = ("front", "wrist")
    phrasing: Literal["usual", "varied"] = "usual"
    arm: str = "five"
    fps: float = FPS
    depth: tuple[str, ...] = ()
    truth: tuple[Literal["poses", "contacts"], ...] = ()

    version = "1"  # part of every episode's id: raised when the same seed no longer gives the same episode

    def __post_init__(self) -> None:
        able = tasks_of(self.arm)
        for name in self.tasks:
            task_named(name, self.arm)
        if not self.tasks:
            raise ConfigError(f"a world needs at least one task; there are {', '.join(able)}")
        if unknown := {*self.cameras, *self.depth} - set(CAMERAS):
            raise ConfigError(f"there is no camera {', '.join(sorted(unknown))}; this world has {', '.join(CAMERAS)}")
        if not 16 <= self.image_size <= 640:
            raise ConfigError(f"image_size is 16 to 640 pixels, not {self.image_size}")
        if not SLOWEST <= self.fps <= FASTEST:
            raise ConfigError(f"fps is {SLOWEST:g} to {FASTEST:g} actions a second, not {self.fps}")
        self.fps = float(self.fps)
        self.body = ARMS[self.arm]
        self.embodiment = self.body.embodiment
        self._scenes: dict[str, Scene] = {}
        self._begin(task_named(self.tasks[0]))
        self.steps = 0
        self._phrase = 0
        self._rng = np.random.default_rng()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of scenes that the tasks need."""
        return tuple(KINDS[name] for name in dict.fromkeys(TASKS[task].scene for task in self.tasks))

    @property
    def features(self) -> dict[str, Feature]:
        """State, cameras and action of a dataset of this world."""
        return spaces(self.body, self.cameras, self.image_size, self.depth)

    @property
    def instruction(self) -> str:
        """What is to be done, in words."""
        return self.task.instruction(self._phrase)

    @property
    def max_steps(self) -> int:
        """How many steps an attempt may take."""
        return math.ceil(self.task.seconds * self.fps)

    @property
    def joint_names(self) -> tuple[str, ...]:
        return self.body.joints

    @property
    def joint_limits(self) -> np.ndarray:
        """`(J, 2)` [rad]."""
        return np.array(self.body.joint_range)

    @property
    def kinematics(self) -> Kinematics:
        """The model, the arm's joints and the tool's site, for solvers of inverse kinematics."""
        return Kinematics(self.scene.model, self.body.joints, "ee")

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A new scene; the same seed and kind give the same scene whatever the task. options: `{"task": name}`.

        Without a seed the scenes go on from the last one given, deterministically.
        """
        if seed is None:
            seed = int(self._rng.integers(EVALUATION))
        else:
            self._rng = np.random.default_rng([seed, 2])
        chosen = (options or {}).get("task") or self.tasks[np.random.default_rng([seed, 1]).integers(len(self.tasks))]
        self._begin(task_named(chosen, self.arm))
        phrases = len(self.task.templates) if self.phrasing == "varied" else 1
        self._phrase = int(np.random.default_rng([seed, 3]).integers(phrases))
        self.scene.place(self.scene.kind.sample(seed))
        self.steps = 0
        return self.observe(), self.verdict()[1]

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Run 1 / fps towards a target. Raises `ConfigError` for an action of another shape, NaN or Inf."""
        self.advance(action)
        self.steps += 1
        reward, info = self.verdict()
        terminated = info["is_success"] or info["wrong_object"]
        truncated = not terminated and self.steps >= self.max_steps
        return self.observe(), reward, terminated, truncated, info

    def advance(self, action: np.ndarray) -> None:
        """The physics of one step alone: no picture, no verdict, no clock."""
        action, names = np.asarray(action, np.float64), self.body.action_names
        if action.shape != (len(names),) or not np.isfinite(action).all():
            raise ConfigError(f"an action is {len(names)} finite numbers ({', '.join(names)}), not {action}")
        joints = self.body.inverse(self.body.reachable(action[:-1]))
        self.scene.advance(joints, float(np.clip(action[-1], 0, 1)))

    def observe(self) -> dict[str, np.ndarray]:
        """The current observation."""
        pictures = {f"observation.images.{c}": self.render(c, self.image_size) for c in self.cameras}
        distances = {f"observation.images.{c}_depth": self.render(c, self.image_size, what="depth") for c in self.depth}
        return {**self.observe_state(), **pictures, **distances}

    def observe_state(self) -> dict[str, np.ndarray]:
        """The current observation without pictures."""
        scene = self.scene
        return {"observation.state": np.array([*scene.joints, *scene.pose, scene.gripper], np.float32)}

    def hold_action(self) -> np.ndarray:
        """The action `(A,)` float32 that keeps the arm where it is and the grip as it was told."""
        return np.array([*self.scene.pose, self.scene.grip], np.float32)

    def verdict(self) -> tuple[float, dict[str, Any]]:
        """The task's progress and `info`, as of now."""
        info = {
            "is_success": self.task.success(self.scene),
            "wrong_object": self.task.wrong(self.scene),
            "task": self.task.name,
            "instruction": self.instruction,
        }
        return self.task.progress(self.scene), info

    def still(self) -> Still:
        """This instant, to be drawn later or elsewhere."""
        return self.scene.still()

    def render(self, camera: str, size: int, still: Still | None = None, what: What = "rgb") -> np.ndarray:
        """A picture of a still, or of now; from any thread. See `cameras.render`."""
        return render(still or self.scene.still(), camera, size, what)

    def segment(self, camera: str, size: int) -> Segmentation:
        """Which pixel shows what."""
        return segmentation(self.scene, camera, size)

    def look(self) -> Truth:
        """Where everything is and what touches what."""
        return truth(self.scene)

    def snapshot(self) -> Snapshot:
        """The whole state, small and picklable."""
        rng = dict(self._rng.bit_generator.state)
        return Snapshot(self.task.name, self._phrase, self.steps, self.scene.snapshot(), rng)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of a tabletop of the same arm and fps, exactly as it would have."""
        self._begin(task_named(snapshot.task, self.arm))
        self._phrase, self.steps = snapshot.phrase, snapshot.steps
        self._rng.bit_generator.state = snapshot.rng
        self.scene.restore(snapshot.physics)

    def demonstrate(self, seed: int, task: str, *, noise: float, recovery: float, attempt: int = 0) -> Demonstration:
        """The scripted expert at work; see `demonstrate.py`."""
        return demonstrate(self, seed, task, noise=noise, recovery=recovery, attempt=attempt)

    def _begin(self, task: Task) -> None:
        """A task, in the scene of its kind; scenes are kept."""
        self.task, self.scene = task, self.scene_of(task.scene)

    def scene_of(self, kind: str) -> Scene:
        """The scene of a kind; made when it is first asked for."""
        if kind not in self._scenes:
            self._scenes[kind] = Scene(self.arm, kind, self.fps)
        return self._scenes[kind]
