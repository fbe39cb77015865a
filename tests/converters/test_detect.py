"""Finding the one converter for a path by its content, and saying clearly when there is none."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

import h5py
import numpy as np
import pytest
from source_layouts import aloha, libero, mimicgen, png, replay, robomimic, umi

from conftest import shared_data
from converters import report
from converters.base import Converter, detect
from converters.mapping import SourceMapping
from converters.raw import Column, RawEpisode, Survey
from dataengine import plugins
from dataengine.episode import Episode
from dataengine.errors import DataEngineError, SourceError, UnsafeSource
from dataengine.flow.source import find_converter
from dataengine.source import EpisodeRef, Plan


def test_every_layout_is_found_by_its_content_whatever_it_is_called(tmp_path: Path) -> None:
    made = {
        robomimic(tmp_path / "a.hdf5", {"demo_1": 4}): "robomimic",
        libero(tmp_path / "b.h5", "open"): "robomimic",
        mimicgen(tmp_path / "c"): "robomimic",
        aloha(tmp_path / "d.dat", 4): "aloha",
        replay(tmp_path / "e.zarr", umi(6), [6]): "zarr_replay",
        replay(tmp_path / "f.zip", umi(6), [6]): "zarr_replay",
    }
    for path, name in made.items():
        assert detect(path).name == name


def test_a_pipe_or_device_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.hdf5")
    for path in (tmp_path / "x.hdf5", Path("/dev/zero"), Path("/dev/null")):
        for find in (detect, find_converter):
            with pytest.raises(SourceError, match="pipe, socket or device"):
                find(path)


@pytest.mark.parametrize("name", ["minari_hdf5", "rlds_tfds", "rosbag", "hands/dexretargeting_human_joint_right.pkl",
                                  "minari_hdf5/mujoco/pusher/smoothed-v0/data/main_data.hdf5"])  # fmt: skip
def test_formats_that_are_not_read_yet_are_refused_with_what_is(name: str) -> None:
    with pytest.raises(SourceError, match=r"no format that can be read – supported: .*aloha.*robomimic.*zarr_replay"):
        detect(shared_data(name))


def minari(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("episode_0")
        group["actions"], group["observations"] = np.zeros((4, 2)), np.zeros((5, 3))
    return path


def refusal(path: Path) -> DataEngineError:
    with pytest.raises(SourceError) as caught:
        detect(path)
    return caught.value


def test_bad_input_has_one_clear_error_each(tmp_path: Path) -> None:
    assert "supported:" in str(refusal(minari(tmp_path / "minari.hdf5")))
    assert "no such file" in str(refusal(tmp_path / "absent"))
    empty = tmp_path / "empty.hdf5"
    empty.write_bytes(b"")
    assert "0 bytes" in str(refusal(empty))
    picture = tmp_path / "picture.hdf5"
    picture.write_bytes(png())
    assert "not a readable HDF5" in str(refusal(picture))
    whole = robomimic(tmp_path / "whole.hdf5", {"demo_1": 40}).read_bytes()
    for share in (0.05, 0.5, 0.95):
        cut = tmp_path / "cut.hdf5"
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert "cut.hdf5" in str(refusal(cut))
    (tmp_path / "folder").mkdir()
    assert "supported:" in str(refusal(tmp_path / "folder"))


def test_a_folder_of_two_formats_is_not_guessed_at(tmp_path: Path) -> None:
    robomimic(tmp_path / "a.hdf5", {"demo_1": 4})
    aloha(tmp_path / "b.hdf5", 4)
    assert "several formats (aloha, robomimic)" in str(refusal(tmp_path))


def test_hdf5_that_reaches_out_or_lies_about_its_size_is_unsafe(tmp_path: Path) -> None:
    secret = robomimic(tmp_path / "secret.hdf5", {"demo_1": 4})
    linked = robomimic(tmp_path / "linked.hdf5", {"demo_1": 4})
    with h5py.File(linked, "a") as file:
        file["data/demo_1/obs/stolen"] = h5py.ExternalLink("secret.hdf5", "/data/demo_1/actions")
    external = robomimic(tmp_path / "external.hdf5", {"demo_1": 4})
    with h5py.File(external, "a") as file:
        file.create_dataset("data/demo_1/obs/x", (4, 8), "u1", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    virtual = robomimic(tmp_path / "virtual.hdf5", {"demo_1": 4})
    layout = h5py.VirtualLayout((4, 7), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "data/demo_1/actions", shape=(4, 7))
    with h5py.File(virtual, "a") as file:
        file.create_virtual_dataset("data/demo_1/obs/x", layout)
    huge = robomimic(tmp_path / "huge.hdf5", {"demo_1": 4})
    with h5py.File(huge, "a") as file:
        del file["data/demo_1/actions"]
        file.create_dataset("data/demo_1/actions", (10**12, 7), "f8", chunks=(1024, 7))
    for path in (linked, external, virtual, huge):
        assert isinstance(refusal(path), UnsafeSource), path.name
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (linked, robomimic(tmp_path / "good.hdf5", {"demo_1": 4})):
        shutil.copy(path, folder)
    plan = detect(folder).plan(folder)
    assert [ref.problem is None for ref in plan.episodes] == [True, False]


def test_names_from_a_file_never_become_paths(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 4})
    with h5py.File(path, "a") as file:
        file["data/demo_1/obs"].create_dataset("..\\..\\evil_image", data=np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(UnsafeSource, match="separator"):
        detect(path).plan(path)
    kept = detect(path).plan(path, {"complete": True, "features": {"action": {"from": ["actions"]}}})
    assert set(kept.features) == {"action"}


def test_a_link_in_a_folder_that_leaves_it_is_not_followed(tmp_path: Path) -> None:
    outside = robomimic(tmp_path / "outside.hdf5", {"demo_1": 4})
    folder = tmp_path / "folder"
    folder.mkdir()
    robomimic(folder / "inside.hdf5", {"demo_1": 4})
    (folder / "link.hdf5").symlink_to(outside)
    plan = detect(folder).plan(folder)
    assert [(ref.name, ref.problem is None) for ref in plan.episodes] == [
        ("inside.hdf5:demo_1", True),
        ("link.hdf5", False),
    ]


class Csv(Converter):
    """A third party's format in one small class: numbers, one row a line."""

    name = "csv"
    reads = "text with commas"

    def sniff(self, path: Path) -> bool:
        return path.suffix == ".csv"

    def survey(self, path: Path) -> Survey:
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
        column = Column("values", "float64", rows.shape[1:])
        ref = EpisodeRef("all", len(rows), extra={"file": "", "place": "all"})
        return Survey((ref,), {"values": column}, {}, {"fps": 5, "features": {"action": {"from": ["values"]}}})

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        return RawEpisode({"values": np.loadtxt(plan.path, delimiter=",", ndmin=2)})


def test_a_new_format_is_one_small_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("csv", "csv_converter:Csv", "dataengine.converters")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Csv)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n")
    episode: Episode = next(detect(path).read_all(path, {"features": {"action": {"names": ["a", "b"]}}, "task": "go"}))
    np.testing.assert_array_equal(episode.frames["action"], [[1, 2], [3, 4]])
    assert episode.features["action"].names == ("a", "b") and episode.meta.tasks == ("go",)
    assert episode.meta.lineage[0].params["format"] == "csv"


def layouts(folder: Path) -> list[Path]:
    return [
        robomimic(folder / "a.hdf5", {"demo_1": 4}, images=True, depth=True),
        libero(folder / "b.hdf5", "open: the 'drawer'\n# not a comment"),
        mimicgen(folder / "c.hdf5"),
        aloha(folder / "d.hdf5", 4, jpeg=True, base=True),
        replay(folder / "e.zarr", umi(6), [2, 6]),
    ]


def test_a_written_mapping_given_back_gives_the_same_plan(tmp_path: Path) -> None:
    for path in layouts(tmp_path):
        converter = detect(path)
        plan = converter.plan(path)
        written = path.with_suffix(".yaml")
        report.write_mapping(plan, written)
        again = converter.plan(path, report.read_mapping(written))
        assert (again.features, again.assumptions, again.fps) == (plan.features, plan.assumptions, plan.fps)
        for a, b in zip(converter.read_all(path), converter.read_all(path, report.read_mapping(written)), strict=True):
            assert a.hashes() == b.hashes() and a.id == b.id
        with pytest.raises(DataEngineError, match="exists"):
            report.write_mapping(plan, written)


def test_a_mapping_of_another_format_is_refused(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "a.hdf5", {"demo_1": 4})
    with pytest.raises(DataEngineError, match="written for 'aloha'"):
        detect(path).plan(path, {"format": "aloha"})


def test_what_was_assumed_is_in_the_lineage_until_the_mapping_says_otherwise(tmp_path: Path) -> None:
    path = aloha(tmp_path / "a.hdf5", 4)
    converter = detect(path)
    assumed = next(converter.read_all(path)).meta.lineage[0].assumed
    assert any(line.startswith("fps = 50.0: no file says the rate") for line in assumed)
    settled = next(converter.read_all(path, {"fps": 25, "task": "lift"})).meta
    assert not any(line.startswith(("fps", "task")) for line in settled.lineage[0].assumed)
    assert settled.lineage[0].params["mapping"]["fps"] == 25


def test_the_report_says_it_all_on_lines_a_file_cannot_break(tmp_path: Path) -> None:
    for path in layouts(tmp_path):
        plan = detect(path).plan(path, hashed=False)
        text, facts = report.render(plan), report.describe(plan)
        assert facts["episodes"] == len(plan.episodes) and facts["bytes_stored"] > 0
        for key in plan.features:
            assert key in text
        for assumption in plan.assumptions:
            assert assumption.key in text
        assert "\x1b" not in text and str(tmp_path) not in text and str(tmp_path) not in report.mapping_yaml(plan)


def test_the_page_on_formats_names_every_converter_and_its_example_mapping_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    for name in plugins.parts("converters"):
        assert f"| `{name}` |" in page
    written = tmp_path / "mapping.yaml"
    written.write_text(page.split("```yaml\n")[1].split("```")[0], "utf-8")
    rules = SourceMapping.from_dict(report.read_mapping(written))
    assert rules.fps == 20.0 and rules.cameras["observation.images.front"].colour == "bgr"


@pytest.mark.parametrize("made", ["robomimic", "aloha", "zarr_replay"])
def test_random_damage_is_never_a_traceback_of_a_library(made: str, tmp_path: Path) -> None:
    makers = {
        "robomimic": lambda path: robomimic(path, {"demo_1": 5}, images=True),
        "aloha": lambda path: aloha(path, 5, jpeg=True, base=True),
        "zarr_replay": lambda path: replay(path.with_suffix(".zip"), umi(6), [2, 6]),
    }
    whole = makers[made](tmp_path / "whole.hdf5")
    rng = np.random.default_rng(0)
    outcomes = set()
    for i in range(25):
        damaged = np.frombuffer(whole.read_bytes(), np.uint8).copy()
        damaged[rng.integers(0, len(damaged), rng.choice([1, 8, 64, 512]))] ^= 0xA5
        path = tmp_path / f"{i}{whole.suffix}"
        path.write_bytes(damaged.tobytes())
        try:
            for episode in detect(path).read_all(path):
                for clip in episode.clips.values():
                    assert sum(1 for _ in clip.frames()) == episode.length
            outcomes.add("read")
        except DataEngineError:
            outcomes.add("refused")
    assert "refused" in outcomes
