"""What mutations of sources have found (`bench/mutations.py`), each as small as it can be: words, never a traceback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import TOP, Folder, edit_table, picture, write_mp4, write_v2, write_v3
from source_layouts import aloha, replay
from store_made import FEATURES, FPS, episode

from converters.base import detect
from converters.lerobot_v2 import LeRobotV2
from converters.own_store import OwnStore
from converters.zarr_replay import ZarrReplay
from dataengine.errors import EpisodeError, SourceError, UnsafeSource
from dataengine.flow import convert
from dataengine.flow.folder import read_lines
from dataengine.guard import run_guarded
from dataengine.store import Store

EPISODES = "meta/episodes/chunk-000/file-000.parquet"
DATA = "data/chunk-000/file-000.parquet"


def problems(root: Path) -> dict[str, str]:
    """Why episodes cannot be used, by name: known to the plan, or found when they are read."""
    converter = detect(root)
    plan = converter.plan(root)
    found = {}
    for ref in plan.episodes:
        try:
            converter.read(plan, ref)
        except (EpisodeError, SourceError) as error:
            found[ref.name] = str(error)
    return found


def quarantine(out: Path) -> dict[str, str]:
    """The last word on each episode."""
    last = {line["key"]: line for line in read_lines(Path(f"{out}.flow") / "quarantine.jsonl")}
    return {line["episode"]: line["reason"] for line in last.values() if "reason" in line}


def test_each_bad_file_of_a_folder_is_told_and_stays_told(tmp_path: Path) -> None:
    """A file that has no hash took the identity of a good one, which then let it out of quarantine."""
    source = tmp_path / "act"
    source.mkdir()
    for n in range(3):
        aloha(source / f"episode_{n}.hdf5", 4, seed=n)
    for n in (0, 2):
        (source / f"episode_{n}.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    done = convert(source, tmp_path / "out", scheduler="inprocess", progress=False)
    assert (done.exit_code, done.kept, done.quarantined) == (3, 1, 2)
    assert sorted(quarantine(tmp_path / "out")) == ["act:episode_0.hdf5", "act:episode_2.hdf5"]


WRONG_NUMBERS: dict[str, Any] = {
    "text": ["0", "1", "2"],
    "two a row": [[0, 0], [1, 1], [2, 2]],
    "ragged": [[0], [1, 1], []],
    "struct": [{"v": 0}, {"v": 1}, {"v": 2}],
}


@pytest.mark.parametrize("name", ["episode_index", "length", "data/file_index", f"videos/{TOP}/from_timestamp"])
@pytest.mark.parametrize("wrong", WRONG_NUMBERS)
def test_a_table_of_contents_without_numbers_is_one_error(tmp_path: Path, name: str, wrong: str) -> None:
    write_v3(tmp_path)
    edit_table(tmp_path / EPISODES, **{name: pa.array(WRONG_NUMBERS[wrong])})
    with pytest.raises(SourceError, match=rf"episodes.*{name} is .*, not one (whole )?number a row"):
        detect(tmp_path).plan(tmp_path)


def test_an_index_that_is_no_whole_number_is_not_rounded_to_one(tmp_path: Path) -> None:
    write_v3(tmp_path)
    edit_table(tmp_path / EPISODES, **{"data/file_index": [0.0, 0.5, 1.0]})
    assert list(problems(tmp_path)) == ["episode 1"]


def test_indices_packed_by_a_dictionary_are_indices(tmp_path: Path) -> None:
    write_v3(tmp_path)
    edit_table(tmp_path / EPISODES, episode_index=pa.array([0, 1, 2]).dictionary_encode())
    assert problems(tmp_path) == {}


def test_timestamps_without_numbers_cost_their_file(tmp_path: Path) -> None:
    write_v3(tmp_path)
    rows = pq.read_metadata(tmp_path / DATA).num_rows
    edit_table(tmp_path / DATA, timestamp=pa.array(["now"] * rows))
    found = problems(tmp_path)
    assert list(found) == ["episode 0", "episode 1"] and "timestamp is string" in found["episode 0"]


def test_two_columns_of_one_name_are_told(tmp_path: Path) -> None:
    write_v2(tmp_path)
    path = tmp_path / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("action", table.column("action")), path)
    assert "two columns called 'action'" in problems(tmp_path)["episode 1"]


@pytest.mark.parametrize("packed", [True, False])
def test_one_long_text_in_every_row_is_not_spelt_out(tmp_path: Path, packed: bool) -> None:
    """A hundred megabytes times the rows; the file has a few kilobytes."""
    write_v2(tmp_path)
    path = tmp_path / "data/chunk-000/episode_000001.parquet"
    rows = pq.read_metadata(path).num_rows
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["x" * (4 << 20)])
    edit_table(path, action=text if packed else text.dictionary_decode())
    assert "holds a text of 4,194,304 bytes in 'action'" in problems(tmp_path)["episode 1"]


def test_a_video_of_another_rate_is_not_shifted_along_its_rows(tmp_path: Path) -> None:
    lengths = (9, 12, 7)
    write_v3(tmp_path, Folder(lengths=lengths, fps=20))
    frames = [picture(0, i) for i in range(2 * sum(lengths))]
    write_mp4(tmp_path / f"videos/{TOP}/chunk-000/file-000.mp4", frames, 29.97)
    with pytest.raises(SourceError, match=r"none of 3 episodes can be read.*at other times than theirs"):
        detect(tmp_path).plan(tmp_path)


@pytest.mark.parametrize("name", ["data/state/.zarray", "data/state/0.0", ".zattrs"])
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path, name: str) -> None:
    state = np.ones((6, 2), np.float32)
    source = replay(tmp_path / "x.zarr", {"state": state, "action": state}, [6])
    (source / name).unlink(missing_ok=True)
    os.mkfifo(source / name)
    with pytest.raises(SourceError, match="is no file but a pipe"):
        run_guarded(ZarrReplay().plan, source, {"fps": 10}, seconds=60)


def test_pipes_among_what_only_describes_a_dataset_are_passed_over(tmp_path: Path) -> None:
    write_v2(tmp_path)
    os.mkfifo(tmp_path / "README.md")
    assert len(run_guarded(LeRobotV2().plan, tmp_path, seconds=60).episodes) == 3


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = Store.create(tmp_path / "own", fps=FPS, features=FEATURES)
    with made.writer() as writer:
        for seed in range(2):
            writer.append(episode(seed, 5))
    return tmp_path / "own"


def test_a_store_whose_rows_are_not_what_was_written_is_told(store: Path) -> None:
    """Written anew with the right checksums of its pages: only the record of the store knows."""
    path = sorted(store.glob("data/*/*.parquet"))[0]
    rows = pq.read_metadata(path).num_rows
    edit_table(path, **{"next.done": [True] * rows})
    found = problems(store)
    assert len(found) == 1 and "is not what was written: its sha256 begins with" in next(iter(found.values()))


def test_a_store_whose_labels_are_not_what_was_written_is_told(store: Path) -> None:
    path = sorted((store / "labels" / "contact").glob("*.parquet"))[0]
    table = pq.read_table(path)
    at = table.column_names.index("frame")
    pq.write_table(table.set_column(at, "frame", pa.nulls(len(table), pa.int64())), path)
    assert any(
        "labels/contact/" in reason and "is not what was written" in reason for reason in problems(store).values()
    )


def test_a_store_that_links_out_of_itself_is_refused(store: Path) -> None:
    path = sorted(store.glob("videos/*/*/*.mp4"))[0]
    path.rename(store.parent / "outside.mp4")
    path.symlink_to(store.parent / "outside.mp4")
    with pytest.raises(UnsafeSource, match="is a link that leaves 'own'"):
        OwnStore().plan(store)


def test_what_a_library_says_of_damage_is_one_error_of_the_source(tmp_path: Path, monkeypatch: Any) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 4)
    converter = detect(path)

    def survey(path: Path) -> Any:
        raise IndexError("list index\nout of range")

    monkeypatch.setattr(converter, "survey", survey)
    with pytest.raises(SourceError, match=r"^episode_0.hdf5: cannot be read: IndexError: list index out of range$"):
        converter.plan(path)


def test_a_name_in_a_file_neither_breaks_nor_colours_the_line(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 4)
    with h5py.File(path, "r+") as file:
        file["observations/red\x1b[31m\nerror"] = h5py.ExternalLink("other.hdf5", "/x")
    with pytest.raises(UnsafeSource) as caught:
        detect(path).plan(path)
    assert str(caught.value).isprintable() and "is a link to another file" in str(caught.value)
