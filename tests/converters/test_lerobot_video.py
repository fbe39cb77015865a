"""LeRobot videos that are not quite what the table says: too long, at another rate, turned, linked elsewhere."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot_folders import TOP, Folder, edit_table, picture, write_mp4, write_v2, write_v3
from video_foreign import by_hand, packet_hashes

from converters.base import detect
from dataengine.episode import Episode
from dataengine.errors import EpisodeError, SourceError
from dataengine.source import Plan
from dataengine.store import Store

TABLE = "data/chunk-000/episode_000001.parquet"
VIDEO_V2 = f"videos/chunk-000/{TOP}/episode_000001.mp4"
VIDEO_V3 = f"videos/{TOP}/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def read(root: Path, mapping: dict[str, Any] | None = None) -> tuple[Plan, list[Episode]]:
    converter = detect(root)
    plan = converter.plan(root, mapping)
    return plan, [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


def lengthened(root: Path, version: str, surplus: int) -> Path:
    """A folder whose episode 1, of 12 rows, shows some frames more; gives the file they are in."""
    if version == "v2.1":
        write_v2(root)
        write_mp4(root / VIDEO_V2, [picture(1, i) for i in range(12 + surplus)], 20)
        return root / VIDEO_V2
    write_v3(root)
    lengths = (9, 12 + surplus, 7)
    frames = [picture(seed, i) for seed, length in enumerate(lengths) for i in range(length)]
    write_mp4(root / VIDEO_V3, frames, 20, gop=3)
    ends = np.cumsum((0, *lengths)) / 20
    times = {f"videos/{TOP}/from_timestamp": ends[:-1].tolist(), f"videos/{TOP}/to_timestamp": ends[1:].tolist()}
    edit_table(root / EPISODES, **times)
    return root / VIDEO_V3


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_frames_after_the_last_row_are_left_out_and_said(tmp_path: Path, version: str) -> None:
    video = lengthened(tmp_path / "source", version, surplus=3)
    plan, episodes = read(tmp_path / "source")
    assert [len(e) for e in episodes] == [9, 12, 7]
    assert any(f"{TOP} has up to 3 frames more than rows in 1 episodes" in note for note in plan.notes)
    assert [e.meta.lineage[0].assumed for e in episodes[::2]] == [(), ()]
    assert f"{TOP} has 3 frames more than rows: left out" in episodes[1].meta.lineage[0].assumed[0]
    for number, episode in enumerate(episodes):
        error = [np.abs(f.astype(int) - picture(number, i)).mean() for i, f in enumerate(episode.clips[TOP].frames())]
        assert len(error) == len(episode) and max(error) < 6

    store = Store.create(tmp_path / "store", fps=plan.fps, features=plan.features)
    with store.writer() as writer:
        for episode in episodes:
            writer.append(episode)
    clip: Any = Store.open(tmp_path / "store")[1].clips[TOP]
    first = 0 if version == "v2.1" else 9
    stored = packet_hashes(clip.path)[clip.start : clip.start + 12]
    assert stored == packet_hashes(video)[first : first + 12]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_frames_that_are_missing_are_in_the_dry_run(tmp_path: Path, version: str) -> None:
    lengthened(tmp_path, version, surplus=-1)
    plan, episodes = read(tmp_path)
    assert [len(e) for e in episodes] == [9, 7]
    assert "11 frames" in str(plan.episodes[1].problem) and "12 rows" in str(plan.episodes[1].problem)


def test_an_episode_that_is_left_out_has_no_surplus_to_speak_of(tmp_path: Path) -> None:
    write_v2(tmp_path)
    pq.write_table(pq.read_table(tmp_path / TABLE).slice(0, 0), tmp_path / TABLE)
    text = (tmp_path / "meta/episodes.jsonl").read_text()
    (tmp_path / "meta/episodes.jsonl").write_text(text.replace('"length": 12', '"length": 0'))
    plan, episodes = read(tmp_path)
    assert len(episodes) == 2 and "has 0 rows" in str(plan.episodes[1].problem)
    assert not any("more than rows" in note for note in plan.notes)


def test_twice_as_many_frames_are_another_rate_and_no_surplus(tmp_path: Path) -> None:
    """Were they cut after the last row, every picture but the first would be a wrong one."""
    write_v2(tmp_path)
    write_mp4(tmp_path / VIDEO_V2, [picture(1, i // 2) for i in range(24)], 40)
    converter = detect(tmp_path)
    plan = converter.plan(tmp_path)
    with pytest.raises(EpisodeError, match="24 frames for 12 rows and shows them at other times"):
        converter.read(plan, plan.episodes[1])


@pytest.mark.parametrize(("file", "what"), [(TABLE, "table"), (VIDEO_V2, "video")])
def test_a_link_that_leaves_the_folder_costs_its_episode(tmp_path: Path, file: str, what: str) -> None:
    write_v2(tmp_path / "set")
    (tmp_path / "set" / file).rename(tmp_path / "elsewhere")
    (tmp_path / "set" / file).symlink_to(tmp_path / "elsewhere")
    plan, episodes = read(tmp_path / "set")
    assert [ref.extra["index"] for ref in plan.episodes if ref.problem] == [1]
    assert "is a link that leaves 'set'" in str(plan.episodes[1].problem) and what
    assert [len(e) for e in episodes] == [9, 7]


@pytest.mark.parametrize("file", ["data/chunk-000/file-000.parquet", VIDEO_V3])
def test_a_link_that_leaves_the_folder_costs_the_episodes_in_that_file(tmp_path: Path, file: str) -> None:
    write_v3(tmp_path / "set", Folder(cameras={TOP: "video"}))
    (tmp_path / "set" / file).rename(tmp_path / "elsewhere")
    (tmp_path / "set" / file).symlink_to(tmp_path / "elsewhere")
    if file == VIDEO_V3:  # it holds all of them
        with pytest.raises(SourceError, match=r"none of 3 episodes.*is a link that leaves 'set'"):
            read(tmp_path / "set")
        return
    plan, episodes = read(tmp_path / "set")
    assert [ref.problem is None for ref in plan.episodes] == [False, False, True] and len(episodes) == 1


@pytest.mark.parametrize("name", ["info.json", "tasks.jsonl", "episodes.jsonl", "episodes_stats.jsonl"])
def test_a_link_in_meta_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write_v2(tmp_path / "set")
    (tmp_path / "set/meta" / name).rename(tmp_path / "elsewhere")
    (tmp_path / "set/meta" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="is a link that leaves 'set'"):
        read(tmp_path / "set")


def test_a_link_in_meta_of_v3_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    for name in ("info.json", "tasks.parquet", "episodes"):
        root = tmp_path / f"set of {name}"
        write_v3(root)
        (root / "meta" / name).rename(tmp_path / name)
        (root / "meta" / name).symlink_to(tmp_path / name)
        with pytest.raises(SourceError, match="is a link that leaves"):
            read(root)
    assert pq.read_table(tmp_path / "tasks.parquet").num_rows


@pytest.mark.parametrize(("matrix", "flip", "turns"), [((0, 1, -1, 0), "rot90", -1), ((0, -1, 1, 0), "rot270", 1)])
def test_a_video_that_asks_to_be_turned_is_said_and_can_be(
    tmp_path: Path, matrix: tuple[int, int, int, int], flip: str, turns: int
) -> None:
    """A phone held upright writes lying pictures and a matrix beside them, which LeRobot's readers ignore."""
    write_v2(tmp_path)
    a, b, c, d = (n << 16 for n in matrix)
    for video in (tmp_path / "videos").rglob("*.mp4"):
        data = video.read_bytes()
        at = data.index(b"tkhd") + 44
        video.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[at + 36 :])
    plan, episodes = read(tmp_path)
    lying = episodes[1].clips[TOP].frame(5)
    assert np.abs(lying.astype(int) - picture(1, 5)).mean() < 6
    assert [(a.key, a.value) for a in plan.assumptions] == [(f"cameras/{TOP}/flip", "none")]
    assert f"{turns * -90 % 360}° clockwise" in episodes[1].meta.lineage[0].assumed[0]

    plan, episodes = read(tmp_path, {"cameras": {TOP: {"flip": flip}}})
    assert not plan.assumptions and plan.features[TOP].shape == (64, 48, 3)
    assert np.array_equal(episodes[1].clips[TOP].frame(5), np.rot90(lying, turns))


def test_episodes_begin_in_the_middle_of_any_of_several_files(tmp_path: Path) -> None:
    """LeRobot starts a new file, and after some of them a new chunk, when one has grown large enough."""
    lengths, files = (9, 12, 7, 10, 5), [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0)]
    write_v3(tmp_path, Folder(lengths=lengths))
    starts = [0, 9, 0, 7, 0]
    for chunk, file in dict.fromkeys(files):
        shown = [picture(e, i) for e, at in enumerate(files) if at == (chunk, file) for i in range(lengths[e])]
        write_mp4(tmp_path / f"videos/{TOP}/chunk-{chunk:03d}/file-{file:03d}.mp4", shown, 20, gop=3)
    table = pq.read_table(tmp_path / "data/chunk-000/file-001.parquet")  # the last episode's, in a chunk of its own
    (tmp_path / "data/chunk-001").mkdir()
    pq.write_table(table, tmp_path / "data/chunk-001/file-000.parquet")
    (tmp_path / "data/chunk-000/file-001.parquet").unlink()
    camera = {
        "chunk_index": [chunk for chunk, _ in files],
        "file_index": [file for _, file in files],
        "from_timestamp": [start / 20 for start in starts],
        "to_timestamp": [(start + length) / 20 for start, length in zip(starts, lengths, strict=True)],
    }
    columns: dict[str, Any] = {f"videos/{TOP}/{name}": values for name, values in camera.items()}
    edit_table(tmp_path / EPISODES, **columns | {"data/chunk_index": [0, 0, 0, 0, 1], "data/file_index": [0] * 5})
    _, episodes = read(tmp_path)
    assert [len(e) for e in episodes] == [*lengths]
    for number, (episode, (chunk, file), start) in enumerate(zip(episodes, files, starts, strict=True)):
        shown = by_hand(tmp_path / f"videos/{TOP}/chunk-{chunk:03d}/file-{file:03d}.mp4")
        assert np.array_equal(np.stack([*episode.clips[TOP].frames()]), shown[start : start + lengths[number]])
        assert np.abs(episode.clips[TOP].frame(4).astype(int) - picture(number, 4)).mean() < 6
