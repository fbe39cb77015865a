"""HDF5 of the robomimic family, in every layout, against h5py by hand."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from source_layouts import libero, mimicgen, pictures, robomimic

from conftest import shared_data
from converters.robomimic import Robomimic
from converters.scrub import relative, scrub, scrub_text
from dataengine.errors import EpisodeError, SourceError

READER = Robomimic()


def assumed(plan: object) -> dict[str, object]:
    return {a.key: a.value for a in plan.assumptions}  # type: ignore[attr-defined]


def test_every_column_arrives_with_names_units_and_values(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 7, "demo_2": 5}, images=True, depth=True)
    plan = READER.plan(path)
    assert plan.fps == 20.0 and plan.embodiment == "Panda"
    assert assumed(plan) == {"fps": 20.0, "task": "Lift"}
    state = plan.features["observation.state"]
    assert state.names is not None and isinstance(state.unit, tuple)
    assert state.names[:7] == (*(f"robot0_eef_pos.{a}" for a in "xyz"), *(f"robot0_eef_quat.q{a}" for a in "xyzw"))
    assert state.unit == ("m",) * 3 + ("1",) * 4 + ("m",) * 2
    assert state.info["rotations"] == [{"start": 3, "stop": 7, "convention": "quaternion_xyzw"}]
    action = plan.features["action"]
    assert action.names == ("dx", "dy", "dz", "drx", "dry", "drz", "gripper") and action.unit == "1"
    assert action.info["control"] == "delta" and action.info["controller"]["output_max"] == [0.05] * 3 + [0.5] * 3
    episode = READER.read(plan, plan.episodes[1])
    with h5py.File(path, locking=False) as file:  # as our reader opens it: HDF5 wants both alike
        demo = file["data/demo_2"]
        joined = np.concatenate([demo[f"obs/robot0_{n}"][:] for n in ("eef_pos", "eef_quat", "gripper_qpos")], axis=1)
        np.testing.assert_array_equal(episode.frames["observation.state"], joined.astype(np.float32))
        for key, name in (
            ("observation.environment_state", "obs/object"),
            ("action", "actions"),
            ("sim.state", "states"),
            ("next.reward", "rewards"),
            ("next.done", "dones"),
        ):
            np.testing.assert_array_equal(episode.frames[key], demo[name][:].astype(episode.frames[key].dtype))
        np.testing.assert_array_equal(
            np.stack(list(episode.clips["observation.images.agentview"].frames())), demo["obs/agentview_image"][:]
        )
        depth = np.stack(list(episode.clips["observation.images.agentview_depth"].frames()))
        np.testing.assert_array_equal(depth, demo["obs/agentview_depth"][:])
        assert depth.dtype == np.float32
    assert any(u.startswith("next_obs") for u in plan.unused)


def test_demos_are_in_numeric_order_and_masks_become_splits(tmp_path: Path) -> None:
    masks = {"train": ["demo_1", "demo_10", "demo_77"], "valid": ["demo_2"], "empty": [], "20_percent": ["demo_1"]}
    path = robomimic(tmp_path / "x.hdf5", {"demo_10": 4, "demo_2": 4, "demo_1": 4}, masks=masks)
    plan = READER.plan(path)
    assert [ref.name for ref in plan.episodes] == ["demo_1", "demo_2", "demo_10"]
    assert [READER.read(plan, ref).meta.split for ref in plan.episodes] == ["train", "valid", "train"]
    assert any("names 1 demos that are not in the file (demo_77" in note for note in plan.notes)


def test_ids_come_from_the_files_content_not_from_where_it_lies(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 4, "demo_2": 4})
    (tmp_path / "folder").mkdir()
    moved = tmp_path / "folder" / "renamed.h5"
    moved.write_bytes(path.read_bytes())
    alone = [e.id for e in READER.read_all(path)]
    assert len(set(alone)) == 2 and [e.id for e in READER.read_all(tmp_path / "folder")] == alone


def test_robosuites_own_file_has_no_observations_and_says_so(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 4}, env_args=None, obs=False)
    with h5py.File(path, "a") as file:
        file["data"].attrs["env"] = "Lift"
        file["data"].attrs["env_info"] = json.dumps({"robots": ["Panda"]})
        del file["data/demo_1"].attrs["num_samples"], file["data/demo_1/rewards"], file["data/demo_1/dones"]
    plan = READER.plan(path)
    assert set(plan.features) == {"action", "sim.state"} and plan.embodiment == "Panda"
    assert any("no observation of the robot" in note for note in plan.notes)
    assert READER.read(plan, plan.episodes[0]).length == 4


@pytest.mark.parametrize(
    ("clock", "said", "fps", "is_assumed"), [(0.05, None, 20.0, True), (0.02, None, 50.0, True),
                                              (None, None, 20.0, True), (0.05, 20, 20.0, False)]
)  # fmt: skip
def test_the_rate_is_read_derived_or_assumed(
    tmp_path: Path, clock: float | None, said: int | None, fps: float, is_assumed: bool
) -> None:
    arguments = {"env_name": "Lift", "env_kwargs": {"robots": ["Panda"]} | ({"control_freq": said} if said else {})}
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 30}, clock=clock, env_args=arguments)
    plan = READER.plan(path)
    assert plan.fps == fps and ("fps" in assumed(plan)) == is_assumed


def test_an_uneven_clock_is_kept(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 30})
    with h5py.File(path, "a") as file:
        file["data/demo_1/states"][10:, 0] += 0.013
    plan = READER.plan(path)
    episode = READER.read(plan, plan.episodes[0])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(episode.times, file["data/demo_1/states"][:, 0])


def test_a_bad_demo_is_quarantined_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {f"demo_{i}": 6 for i in range(8)})
    with h5py.File(path, "a") as file:
        del file["data/demo_1/obs/object"]
        file["data/demo_1/obs/object"] = np.zeros((5, 10))
        file["data/demo_2/actions"][3, 1] = np.nan
        file["data/demo_3"].attrs["num_samples"] = 9
        del file["data/demo_4/actions"]
        del file["data/demo_5/obs/robot0_eef_quat"]
    problems: dict[str, EpisodeError] = {}
    found = list(READER.read_all(path, on_problem=lambda ref, error: problems.update({ref.name: error})))
    assert [e.meta.source["place"] for e in found] == ["demo_0", "demo_6", "demo_7"]
    assert "obs/object has 5 rows, actions 6" in problems["demo_1"].reason
    assert (problems["demo_2"].feature, problems["demo_2"].frame) == ("action", 3)
    assert "num_samples 9" in problems["demo_3"].reason and "no actions" in problems["demo_4"].reason
    assert "lacks obs/robot0_eef_quat" in problems["demo_5"].reason
    with pytest.raises(EpisodeError, match="demo_1"):
        list(READER.read_all(path))


def test_libero_has_its_instruction_and_its_pictures_are_turned_upright(tmp_path: Path) -> None:
    folder = tmp_path / "libero"
    folder.mkdir()
    libero(folder / "open_the_drawer_demo.hdf5", "open the drawer", state=11)
    libero(folder / "push_the_plate_demo.hdf5", "push the plate", state=13)
    plan = READER.plan(folder)
    assert [ref.tasks for ref in plan.episodes] == [("open the drawer",)] * 2 + [("push the plate",)] * 2
    assert assumed(plan)["cameras/observation.images.agentview/flip"] == "vertical" and "task" not in assumed(plan)
    episode = READER.read(plan, plan.episodes[2])
    assert episode.meta.tasks == ("push the plate",)
    seen = np.stack(list(episode.clips["observation.images.agentview"].frames()))
    np.testing.assert_array_equal(seen, pictures(0, 6))
    assert "sim.robot_state" in episode.frames and "sim.state" not in episode.frames  # scenes differ in their objects
    assert any(u.startswith("states: in 4 of 4 episodes, in 2 shapes") for u in plan.unused)
    names = episode.features["observation.state"].names
    assert names is not None and "ee_ori.rx" in names and "joint_states.joint7" in names
    as_it_lies = READER.plan(folder, {"cameras": {"observation.images.agentview": {"flip": "none"}}})
    assert "cameras/observation.images.agentview/flip" not in assumed(as_it_lies)
    raw = READER.read(as_it_lies, as_it_lies.episodes[0]).clips["observation.images.agentview"].frame(0)
    np.testing.assert_array_equal(raw, pictures(0, 6)[0, ::-1])


def test_mimicgens_signals_and_poses_arrive_and_its_sources_are_facts(tmp_path: Path) -> None:
    plan = READER.plan(mimicgen(tmp_path / "x.hdf5"))
    episode = READER.read(plan, plan.episodes[0])
    np.testing.assert_array_equal(episode.frames["label.subtask_signals"], np.arange(6) > 2)
    assert episode.features["collect.datagen.eef_pose"].shape == (4, 4)
    np.testing.assert_array_equal(episode.frames["collect.datagen.object_poses.cube"][3], np.eye(4) * 2)
    assert episode.meta.extra["src_demo_inds"] == [3, 4]
    assert {k for k in episode.features if k.startswith(("observation.", "action"))} == {
        "observation.state", "observation.environment_state", "action"
    }  # fmt: skip


def test_no_path_of_the_collecting_machine_comes_along(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 4})
    episode = next(READER.read_all(path))
    said = repr(episode.meta)
    assert "jane" not in said and "/home" not in said and str(tmp_path) not in said
    assert 'file="robosuite/models/assets/link.stl"' in episode.meta.extra["model_file"]
    assert "<body>a/b</body></mujoco>" in episode.meta.extra["model_file"]
    assert episode.meta.extra["env_args"]["env_kwargs"]["render_path"] == "robosuite/models/assets"
    assert episode.meta.extra["camera_info"]["agentview"]["intrinsics"][0] == [1.0, 0, 8]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/a b/robosuite/x.stl", "robosuite/x.stl"),
        ("C:\\Users\\jane\\mesh.obj", "mesh.obj"),
        ("saved to /home/jane/run 1", "saved to jane 1"),
        ("speed in m/s, see https://example.org/a/b", "speed in m/s, see https://example.org/a/b"),
        ("<a/><b>1/2</b>", "<a/><b>1/2</b>"),
        ("file:///home/jane/x.png", "x.png"),
    ],
)
def test_scrubbing(text: str, clean: str) -> None:
    if "saved" in text:
        assert "/home" not in scrub_text(text)
    else:
        assert scrub({"k": [text]}) == {"k": [clean]}
    assert relative("/x/site-packages/robosuite/a.xml") == "robosuite/a.xml"


def test_plans_references_and_clips_can_be_sent_to_another_process(tmp_path: Path) -> None:
    plan = READER.plan(robomimic(tmp_path / "x.hdf5", {"demo_1": 9}, images=True))
    plan, ref = pickle.loads(pickle.dumps((plan, plan.episodes[0])))
    clip = pickle.loads(pickle.dumps(READER.read(plan, ref).clips["observation.images.agentview"]))
    np.testing.assert_array_equal(np.stack(list(clip.slice(3, 7).frames(1, 3))), pictures(0, 9)[4:6])
    assert clip.slice(3, 7).fingerprint != clip.fingerprint
    with pytest.raises(EpisodeError, match="hashed=False"):
        READER.read(READER.plan(tmp_path / "x.hdf5", hashed=False), ref.__class__("demo_1", 9))


def test_memory_does_not_grow_with_the_length_of_an_episode(tmp_path: Path) -> None:
    def peak(length: int) -> int:
        path = tmp_path / f"{length}.hdf5"
        robomimic(path, {"demo_1": length})
        with h5py.File(path, "a") as file:
            frames = np.zeros((length, 64, 64, 3), np.uint8)
            file.create_dataset("data/demo_1/obs/a_image", data=frames, chunks=(8, 64, 64, 3), compression="lzf")
        plan = READER.plan(path)
        clip = READER.read(plan, plan.episodes[0]).clips["observation.images.a"]
        tracemalloc.start()
        assert sum(1 for _ in clip.frames()) == length
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(8000) < 1.1 * peak(2000)


def test_truncated_and_mislabelled_files_in_a_folder_are_quarantined(tmp_path: Path) -> None:
    for i in range(4):
        robomimic(tmp_path / f"part_{i}.hdf5", {"demo_1": 5, "demo_2": 5})
    whole = (tmp_path / "part_1.hdf5").read_bytes()
    (tmp_path / "part_1.hdf5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "part_2.hdf5").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "part_5.hdf5").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("hello")
    plan = READER.plan(tmp_path)
    assert [ref.name for ref in plan.episodes if ref.problem is None] == [
        "part_0.hdf5:demo_1", "part_0.hdf5:demo_2", "part_3.hdf5:demo_1", "part_3.hdf5:demo_2",
    ]  # fmt: skip
    problems = {ref.name: ref.problem for ref in plan.episodes if ref.problem}
    assert set(problems) == {"part_1.hdf5", "part_2.hdf5", "part_5.hdf5"}
    assert "HDF5" in str(problems["part_1.hdf5"]) and "empty" in str(problems["part_5.hdf5"])
    assert "readme.txt" in plan.unused


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    robomimic(tmp_path / "a.hdf5", {"demo_1": 5}, images=True)
    robomimic(tmp_path / "b.hdf5", {"demo_1": 5})
    with pytest.raises(SourceError, match="do not hold the same things: obs/agentview_image"):
        READER.plan(tmp_path)


@pytest.mark.parametrize("name", ["demo_robosuite", "demo", "low_dim", "image", "image_depth_n1"])
def test_the_real_files(name: str) -> None:
    path = shared_data(f"robomimic_hdf5/{name}.hdf5")
    truth = json.loads(shared_data("truth.json").read_text())["robomimic_hdf5"][name]["demos"]
    plan = READER.plan(path)
    assert plan.fps == 20.0 and [ref.name for ref in plan.episodes] == sorted(truth)
    for ref in plan.episodes:
        episode, expected = READER.read(plan, ref), truth[ref.name]
        assert "/home" not in repr(episode.meta)
        np.testing.assert_allclose(episode.frames["action"].sum(0), expected["actions"]["sum_per_dim"], atol=2e-5)
        np.testing.assert_allclose(episode.frames["sim.state"].sum(), expected["states_sum"], atol=1e-5)
        if "obs" not in expected:
            continue
        features = episode.features
        low = [k for k, v in expected["obs"].items() if len(v["shape"]) == 2]
        assert features["observation.state"].size == sum(expected["obs"][k]["shape"][1] for k in low if k != "object")
        names = features["observation.state"].names
        assert names is not None
        for key in (k for k in low if k != "object"):
            columns = [i for i, n in enumerate(names) if n.startswith(f"{key}.")]
            first = episode.frames["observation.state"][0, columns].sum()
            assert first == pytest.approx(expected["obs"][key]["first_sum"], abs=1e-5)
        assert int(episode.frames["next.done"].sum()) == expected["dones_sum"]
        for key, clip in episode.clips.items():
            bare = key.removeprefix("observation.images.")
            if clip.kind == "depth":
                total = float(clip.frame(0).sum(dtype=np.float64))
                assert total == pytest.approx(expected["obs"][bare]["first_sum"], abs=0.01)
            else:
                means = expected["obs"][f"{bare}_image"]["frame_0"]["mean_per_channel"]
                np.testing.assert_allclose(clip.frame(0).mean((0, 1)), means, atol=1e-3)


def test_a_rollout_that_stands_in_several_real_files_comes_out_equal() -> None:
    found = [next(READER.read_all(shared_data(f"robomimic_hdf5/{n}.hdf5")))
             for n in ("demo_robosuite", "demo", "low_dim", "image", "image_depth_n1")]  # fmt: skip
    for episode in found[1:]:
        for key in ("action", "sim.state"):
            np.testing.assert_array_equal(episode.frames[key], found[0].frames[key])
    np.testing.assert_array_equal(found[3].frames["observation.state"], found[2].frames["observation.state"])


def test_other_names_masks_and_embeddings(tmp_path: Path) -> None:
    """The robot by what other labs call it; masks and language embeddings arrive, and no policy is fed them."""
    rng = np.random.default_rng(0)
    values = {
        "ee_pose": rng.normal(size=(6, 7)), "gripper": rng.normal(size=6), "left_arm_qpos": rng.normal(size=(6, 2)),
        "gripper_to_cube": rng.normal(size=(6, 3)), "lang_emb": rng.normal(size=(6, 16)),
        "mask": rng.integers(0, 2, (6, 9, 11), dtype=np.uint8),
    }  # fmt: skip
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["data/demo_0/actions"] = rng.normal(size=(6, 7)).astype(np.float32)
        for name, column in values.items():
            file[f"data/demo_0/obs/{name}"] = column
    plan = READER.plan(tmp_path / "x.hdf5")
    frames = READER.read(plan, plan.episodes[0]).frames
    robot = np.column_stack([values[n] for n in ("ee_pose", "gripper", "left_arm_qpos")])
    np.testing.assert_allclose(frames["observation.state"], robot, rtol=1e-6)
    np.testing.assert_allclose(frames["observation.environment_state"], values["gripper_to_cube"], rtol=1e-6)
    np.testing.assert_array_equal(frames["collect.mask"], values["mask"])
    np.testing.assert_array_equal(frames["collect.lang_emb"], values["lang_emb"])
