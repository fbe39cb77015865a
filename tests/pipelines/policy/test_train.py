from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataengine.errors import ConfigError, SourceError
from dataengine.plugins import Policy
from pipelines.policy.config import PolicyConfig
from pipelines.policy.infer import load_policy
from pipelines.policy.job import TrainPolicy
from pipelines.policy.train import train

FRONT = "observation.images.front"
SMALL = {"image_size": 32, "width": 32, "channels": (8, 8, 16, 16), "attention_heads": 2}
CONFIG = PolicyConfig(**SMALL, head="flow", steps=60, batch=8, save_every=10, flow_draws=1)

CHILD = """
import sys, json
from pathlib import Path
from pipelines.policy.config import PolicyConfig
from pipelines.policy.train import train
train(Path(sys.argv[1]), Path(sys.argv[2]), PolicyConfig.from_json(json.loads(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def run(toy_store, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, train(toy_store, out, CONFIG)


def losses(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "loss.jsonl").read_text().splitlines()]


def test_killed_and_resumed_is_as_if_never_stopped(run, toy_store, tmp_path):
    out, report = run
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(toy_store), str(tmp_path), json.dumps(CONFIG.to_json())],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[3],
    )
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:  # let it write a state, and go on past it
        seen = sorted((tmp_path / "resume").glob("step-*"))
        if seen and len((tmp_path / "loss.jsonl").read_text().splitlines()) >= int(seen[-1].name[5:]) + 2:
            break
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = (tmp_path / "loss.jsonl").read_text().splitlines()
    assert 10 < len(before) < 60, "the child was not killed in the middle"
    with (tmp_path / "loss.jsonl").open("a") as lines:
        lines.write('{"step": 99, "lo')  # a torn line, as a full disk would leave it

    with pytest.raises(ConfigError, match="already holds this run; go on with resume"):
        train(toy_store, tmp_path, CONFIG)
    again = train(toy_store, tmp_path, CONFIG, resume=True)
    assert losses(tmp_path) == losses(out)
    weights = "policy/model.safetensors"
    assert (tmp_path / weights).read_bytes() == (out / weights).read_bytes()
    assert again.held_out == report.held_out


def test_a_policy_is_trained_further_with_its_own_words_and_scales(run, toy_store, tmp_path):
    out, _ = run
    config = replace(CONFIG, steps=12, seed=5, warmup=0, learning_rate=1e-5)
    report = train(toy_store, tmp_path / "more", config, init=out)
    assert any(note == f"begins with the weights of {out.name}" for note in report.notes)
    begun, more = load_policy(out), load_policy(tmp_path / "more")
    assert more.spec.vocabulary == begun.spec.vocabulary
    np.testing.assert_array_equal(more.spec.target.std, begun.spec.target.std)
    new = train(toy_store, tmp_path / "new", config)
    assert report.loss[0] < 0.7 * new.loss[0]  # it goes on, and does not begin anew
    with pytest.raises(ConfigError, match="holds a run on other data or with other parameters"):
        train(toy_store, tmp_path / "more", config, init=tmp_path / "new", resume=True)


def test_a_policy_for_other_inputs_is_no_beginning(run, toy_store, tmp_path):
    out, _ = run
    with pytest.raises(ConfigError, match="has other cameras"):
        train(toy_store, tmp_path / "a", replace(CONFIG, cameras=()), init=out)
    with pytest.raises(ConfigError, match="is built differently"):
        train(toy_store, tmp_path / "b", replace(CONFIG, width=64), init=out)


def test_what_a_run_leaves_holds_no_code_and_no_path_of_this_machine(run, toy_store):
    out, report = run
    kinds = {path.suffix for path in out.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".jsonl", ".svg", ".safetensors", ".npy", ".id"}
    for path in (out / "policy").rglob("*.json"):
        assert str(toy_store.parent) not in path.read_text() and str(Path.home()) not in path.read_text()
    assert (out / "loss.svg").read_text().startswith("<svg")
    assert json.loads((out / "report.json").read_text())["steps"] == 60
    assert report.episodes + 1 <= 24 and any("by hash of the episode id" in note for note in report.notes)
    assert report.held_out is not None
    assert set(report.held_out.score) >= {
        "policy",
        "no_instruction",
        "other_instruction",
        "mean_action",
        "first_policy",
    }


def test_a_finished_policy_acts(run, toy):
    out, _ = run
    policy = load_policy(out)
    assert isinstance(policy, Policy)
    episode = toy.listed[0]
    seen = {"observation.state": episode.frames["observation.state"][0], FRONT: episode.clips[FRONT].frame(0)}
    first = policy.act(seen, "go to the red square")
    assert first.shape == (4, 3) and first.dtype == np.float32
    policy.reset()
    np.testing.assert_array_equal(policy.act(seen, "go to the red square"), first)
    larger = {**seen, FRONT: np.repeat(np.repeat(seen[FRONT], 2, 0), 2, 1)}
    policy.reset()
    np.testing.assert_allclose(policy.act(larger, "go to the red square"), first, atol=0.02)
    with pytest.raises(
        ConfigError, match=r"looks at 'observation.images.front'; the observation has observation.state"
    ):
        policy.act({"observation.state": seen["observation.state"]}, "")
    with pytest.raises(ConfigError, match="is 3 finite numbers"):
        policy.act({**seen, "observation.state": np.array([0, np.nan, 0])}, "")


def test_a_folder_belongs_to_one_run(run, toy_store):
    out, _ = run
    with pytest.raises(ConfigError, match="other parameters"):
        train(toy_store, out, PolicyConfig(**SMALL, steps=61), resume=True)


def test_damaged_checkpoints_are_named(run, tmp_path):
    out, _ = run
    with pytest.raises(SourceError, match="holds no policy"):
        load_policy(tmp_path)
    for name in ("policy.json", "model.safetensors"):
        (tmp_path / name).write_bytes((out / "policy" / name).read_bytes())
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="damaged"):
        load_policy(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(data)
    described = json.loads((tmp_path / "policy.json").read_text())
    for width in (64, 2**28):  # the second would be petabytes, were it built before it is compared
        described["config"]["width"] = width
        (tmp_path / "policy.json").write_text(json.dumps(described))
        with pytest.raises(SourceError, match="does not fit the model"):
            load_policy(tmp_path)
    described["config"] = {**described["config"], "width": 32, "decoder_layers": 10**9}
    (tmp_path / "policy.json").write_text(json.dumps(described))
    with pytest.raises(SourceError, match="more than 64 layers"):
        load_policy(tmp_path)
    with pytest.raises(ConfigError, match="device 'nowhere'"):
        load_policy(out, device="nowhere")


def test_the_job_learns_something_and_goes_on_where_it_was(toy_store, tmp_path):
    job = TrainPolicy(**SMALL, steps=150, batch=16, learning_rate=2e-3)
    report = job.run(toy_store, tmp_path)
    assert report["loss"][1] < 0.6 * report["loss"][0]
    assert report["held_out"]["score"]["policy"] < report["held_out"]["score"]["mean_action"]
    began = time.monotonic()
    assert job.run(toy_store, tmp_path)["held_out"] == report["held_out"]
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("head", ["fast", "bins"])
def test_token_heads_train_and_act(head, toy_store, toy, tmp_path):
    config = PolicyConfig(**SMALL, head=head, steps=6, batch=8)
    report = train(toy_store, tmp_path, config)
    assert np.isfinite(report.loss).all()
    each = [row["loss"] for row in losses(tmp_path)]
    np.testing.assert_allclose(report.loss, [np.mean(each[:3]), np.mean(each[3:])])  # halves of a run this short
    episode = toy.listed[0]
    seen = {"observation.state": episode.frames["observation.state"][0], FRONT: episode.clips[FRONT].frame(0)}
    assert load_policy(tmp_path).act(seen, episode.meta.tasks[0]).shape == (4, 3)
