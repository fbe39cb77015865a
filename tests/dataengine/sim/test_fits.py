"""A policy of another robot is refused before it acts, with every difference named."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.sim.arms import FIVE
from dataengine.sim.evaluate import evaluate
from dataengine.sim.spaces import spaces

OURS = spaces(FIVE, (), 64)["action"]


@dataclass
class Says:
    """Does nothing but hold still, and says what its actions are."""

    action: Feature
    fps: float = 10.0
    acted: bool = False

    def reset(self) -> None:
        pass

    def act(self, observation: dict[str, np.ndarray], instruction: str) -> np.ndarray:
        self.acted = True
        return observation["observation.state"][None, 5:]


def attempt(policy: Says) -> None:
    evaluate(policy, episodes=1, films=0, params={"cameras": []})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"names": (*OURS.names[:4], "grip")}, "gripper.pos"),
        ({"unit": ("mm", "mm", "mm", "rad", "1")}, "in units of mm, mm, mm, rad, 1, not m, m, m"),
        ({"info": {"control": "delta"}}, "each is delta, not absolute"),
    ],
)
def test_actions_that_mean_something_else_are_refused(change: dict[str, object], says: str) -> None:
    policy = Says(replace(OURS, **change))
    with pytest.raises(ConfigError, match=says):
        attempt(policy)
    assert not policy.acted


def test_another_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"at a rate \[Hz\] of 50, not 10"):
        attempt(Says(OURS, fps=50.0))


@pytest.mark.parametrize("change", [{}, {"names": None}, {"unit": None}, {"info": {}}])
def test_what_is_not_said_is_not_held_against_a_policy(change: dict[str, object]) -> None:
    policy = Says(replace(OURS, **change))
    attempt(policy)
    assert policy.acted
