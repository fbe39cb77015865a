from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from pipelines.policy.stock import train_stock, why_not

STATE = {"observation.state": Feature("float32", (6,), role="state")}
ACTION = {"action": Feature("float32", (6,), role="action")}
CAMERA = {"observation.images.a": Feature("video", (48, 64, 3), role="image")}
DEPTH = {"observation.images.a_depth": Feature("video", (48, 64, 1), role="depth")}
needs_lerobot = pytest.mark.skipif(find_spec("lerobot") is None, reason="needs the extra 'lerobot'")


@pytest.mark.parametrize(
    ("policy", "features", "reason"),
    [
        ("act", STATE | ACTION, "needs a colour camera or observation.environment_state"),
        ("act", STATE | ACTION | DEPTH, "needs a colour camera"),
        ("act", CAMERA | ACTION, None),
        ("act", STATE | ACTION | {"observation.environment_state": Feature("float32", (3,))}, None),
        ("smolvla", STATE | ACTION, "needs a colour camera"),
        ("smolvla", CAMERA | STATE | {"action": Feature("float32", (40,))}, "at most 32 numbers"),
        ("diffusion", CAMERA | ACTION, "needs observation.state"),
        ("diffusion", CAMERA | STATE | ACTION | {"observation.b": Feature("video", (8, 8, 3))}, "cameras of one size"),
        ("act", CAMERA | STATE, "no 'action'"),
    ],
)
def test_why_not(policy, features, reason):
    found = why_not(policy, features)
    assert found is None if reason is None else reason in found


@needs_lerobot
def test_a_dataset_that_act_cannot_train_is_refused_with_the_reason(toy, tmp_path):
    from dataengine.store import Store

    blind = toy.map(lambda e: e.select(["observation.state", "action"]))
    store = Store.create(tmp_path / "blind", fps=10, features=blind.features)
    with store.writer() as writer:
        writer.append(blind.listed[0])
    with pytest.raises(ConfigError, match=r"blind: stock LeRobot cannot train.*colour camera"):
        train_stock("act", tmp_path / "blind", tmp_path / "out", 2)
    with pytest.raises(ConfigError, match="no stock policy 'gpt'"):
        train_stock("gpt", tmp_path / "blind", tmp_path / "out", 2)  # type: ignore[arg-type]


@needs_lerobot
@pytest.mark.parametrize("policy", ["smolvla", pytest.param("act", marks=pytest.mark.slow)])
def test_stock_lerobot_trains_on_our_store(policy, toy_store, tmp_path):
    report = train_stock(policy, toy_store, tmp_path, 2, batch=2, timeout=180)
    assert len(report.losses) == 2 and np.isfinite(report.losses).all()
    assert report.checkpoint.endswith("pretrained_model")
