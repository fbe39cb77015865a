"""The journal: others read it, numbers come back to the bit, and whatever is cut off or changed leaves a beginning."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections import Counter
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from faulty_robot import STATE, FaultyRobot
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from recording_made import FORCE, FRONT, REWARD, encoded, filled, rewarded, samples, setup_of, ticks

from collectors.recorder import Recorder
from collectors.recording import messages, salvage
from collectors.recording.salvage import Found
from dataengine.episode import Feature
from dataengine.errors import SourceError
from dataengine.store import schema
from dataengine.video import nal


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder, Path]:
    """The journal of a small take that was not committed, finished; and a store with the same take committed."""
    folder = tmp_path_factory.mktemp("journal")
    robot = FaultyRobot(cameras={"front": (16, 24)}, joints=2)
    with Recorder(folder / "s", setup_of(robot, columns=REWARD, sensors=FORCE)) as recorder:
        take = recorder.start("fold", extra={"scene": 3})
        for sample in samples(20, 20.0, 1000.01):
            take.sensor("force", sample)
        for tick in ticks(robot, 12, columns=rewarded):
            take.add(tick)
            if take.rows % 3 == 0:  # a chunk for each part
                encoded(take).journal.flush()
        path, copy = take.journal.path, folder / take.journal.path.name
        take.leave()
        shutil.copy(path, copy)
        path.unlink()
    return copy, recorder, folder


SCALARS = [n for n in schema.NUMBERS if n != "float16"]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_numbers_come_back_to_the_bit(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(SCALARS)))
    shape = data.draw(st.sampled_from([(1,), (3,), (2, 2)]))
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    values = data.draw(hnp.arrays(dtype, () if shape == (1,) else shape, elements=hnp.from_dtype(dtype, **finite)))
    names = data.draw(st.one_of(st.none(), st.lists(st.text(), min_size=3, max_size=3)))
    feature = Feature(dtype.name, shape, tuple(names) if names and shape == (3,) else None)
    packed = messages.pack({"x": feature}, {"x": values})
    json.loads(packed, parse_constant=pytest.fail)
    back = messages.unpack({"x": feature}, packed)["x"]
    assert back.dtype == dtype and back.tobytes() == values.tobytes()


@given(st.text())
def test_text_comes_back(text: str) -> None:
    feature = {"x": Feature("string", (1,))}
    try:
        packed = messages.pack(feature, {"x": np.array(text)})
    except UnicodeEncodeError:
        return
    assert str(messages.unpack(feature, packed)["x"]) == str(np.array(text))


@given(st.one_of(st.binary(max_size=40), st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["x", "a", "b"]), inner)),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_other_message_is_an_error_of_a_known_kind(data: bytes) -> None:
    for feature in (Feature("int8", (1,)), Feature("float32", (2,), ("a", "b")), Feature("bool", (1, 2))):
        try:
            value = messages.unpack({"x": feature}, data)["x"]
        except salvage._WRONG:
            continue
        assert value.dtype == feature.dtype


def test_mcaps_own_reader_reads_all_of_it(kept: tuple[Path, Recorder, Path]) -> None:
    path, _, _ = kept
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None and summary.statistics.chunk_count >= 4
        assert all(index.uncompressed_size < (1 << 16) + 4096 for index in summary.chunk_indexes)
        head = {a.name: a for a in reader.iter_attachments()}["take.json"]
        assert json.loads(head.data)["task"] == "fold"
        (about,) = [m for m in reader.iter_metadata() if m.name == "take"]
        assert about.metadata["operator"] == "Ada" and "faulty" in about.metadata["robot"]
        read = [(s, c, m) for s, c, m in reader.iter_messages()]
    counts = Counter(channel.topic for _, channel, _ in read)
    assert counts["/observation/state"] == counts["/action"] == counts["/collect"] == counts["/next/reward"] == 12
    assert counts["/collect/sensor/force"] == 20 and counts["/observation/images/front"] >= 11
    again = FaultyRobot(cameras={"front": (16, 24)}, joints=2)
    wanted = list(ticks(again, 12))
    for _, channel, message in read:
        tick = wanted[min(message.sequence, 11)]
        if channel.topic == "/observation/state":
            said = json.loads(message.data)[STATE]
            assert np.float32([said["joint_0"], said["joint_1"]]).tobytes() == tick.observation[STATE].value.tobytes()
            assert message.publish_time == round(tick.observation[STATE].time * 1e9)
            assert message.log_time == round(tick.time * 1e9)
        if channel.topic == "/next/reward":
            assert np.float32(json.loads(message.data)["next.reward"]) == np.float32(message.sequence / 7)
    schemas = {s.name: s for s, _, _ in read if s is not None}
    assert (
        json.loads(schemas["observation.state"].data)["properties"][STATE]["properties"]["joint_0"]["type"] == "number"
    )


def test_foxglove_can_show_the_cameras(kept: tuple[Path, Recorder, Path]) -> None:
    """By nothing but the schema in the file: Annex B, a keyframe first with its parameters, every packet a picture."""
    path, _, _ = kept
    packets, decoder = [], av.CodecContext.create("h264", "r")
    with path.open("rb") as file:
        for schema_, channel, message in make_reader(file).iter_messages(topics=["/observation/images/front"]):
            assert schema_ is not None and (schema_.name, schema_.encoding) == ("foxglove.CompressedVideo", "protobuf")
            assert channel.message_encoding == "protobuf"
            described = descriptor_pb2.FileDescriptorSet.FromString(schema_.data)
            pool = descriptor_pool.DescriptorPool()
            for one in described.file:
                pool.Add(one)
            video = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema_.name)).FromString(message.data)
            assert (video.format, video.frame_id) == ("h264", "front")
            assert video.timestamp.seconds * 10**9 + video.timestamp.nanos == message.publish_time
            packets.append(video.data)
    kinds = {unit[0] & 31 for unit in nal.split(packets[0], None)}
    assert {7, 8, 5} <= kinds
    pictures = [picture for data in packets for picture in decoder.decode(av.Packet(data))] + decoder.decode(None)
    assert len(pictures) == len(packets)
    again = FaultyRobot(cameras={"front": (16, 24)}, joints=2)
    for n, picture in enumerate(pictures):
        assert abs(picture.to_ndarray(format="rgb24").astype(int) - again.picture(FRONT, n)).mean() < 8


def content(found: Found) -> list[tuple]:
    """What stands in every row."""
    return [tuple(found.columns[key][n].tobytes() for key in found.columns) for n in range(found.rows)]


def ends_of_records(data: bytes) -> list[int]:
    at, ends = 8, [8]
    while at + 9 <= len(data):
        at += 9 + int.from_bytes(data[at + 1 : at + 9], "little")
        ends.append(at)
    return ends


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_cut_off_at_any_byte_a_beginning_is_left_and_nothing_else(
    kept: tuple[Path, Recorder, Path], tmp_path: Path, every: bool
) -> None:
    """every: at each byte; else around the ends of all records and at some others."""
    path, _, _ = kept
    data = path.read_bytes()
    whole = content(salvage.read(path, tmp_path / "films"))
    assert len(whole) in (11, 12)
    sizes = {end + near for end in ends_of_records(data) for near in (-1, 0, 1)} | set(range(0, len(data), 211))
    before = 0
    for size in range(len(data)) if every else sorted(size for size in sizes if 0 <= size < len(data)):
        cut = tmp_path / path.name
        cut.write_bytes(data[:size])
        try:
            found = salvage.read(cut, tmp_path / "films")
        except SourceError:
            assert not before
            continue
        assert not found.damage, (size, found.damage)
        assert found.rows >= before and content(found) == whole[: found.rows]
        assert all(len(series) <= 20 for series in found.series.values())
        before = found.rows
    assert before == len(whole)


@pytest.mark.parametrize("seed", range(2))
def test_changed_bytes_never_become_other_rows(kept: tuple[Path, Recorder, Path], tmp_path: Path, seed: int) -> None:
    path, _, _ = kept
    data, rng = path.read_bytes(), np.random.default_rng(seed)
    whole = content(salvage.read(path, tmp_path / "films"))
    noticed = 0
    for _ in range(60):
        changed = bytearray(data)
        at = int(rng.integers(len(data)))
        changed[at] ^= int(rng.integers(1, 256))
        (tmp_path / path.name).write_bytes(changed)
        try:
            found = salvage.read(tmp_path / path.name, tmp_path / "films")
        except SourceError:
            noticed += 1
            continue
        assert content(found) == whole[: found.rows]
        noticed += bool(found.damage)
        assert found.rows == len(whole) or found.damage
    assert noticed > 20


def test_zeros_at_the_end_are_a_torn_end(kept: tuple[Path, Recorder, Path], tmp_path: Path) -> None:
    path, _, _ = kept
    records = StreamReader(BytesIO(path.read_bytes()), emit_chunks=True)
    end = 0
    for record in records.records:
        if type(record).__name__ == "Chunk":
            end = records._stream.count
    (tmp_path / path.name).write_bytes(path.read_bytes()[:end] + bytes(5000))
    found = salvage.read(tmp_path / path.name, tmp_path / "films")
    assert found.rows >= 11 and not found.damage


def test_a_chunk_that_is_missing_ends_what_is_whole(kept: tuple[Path, Recorder, Path], tmp_path: Path) -> None:
    path, _, _ = kept
    data, whole = path.read_bytes(), content(salvage.read(path, tmp_path / "films"))
    chunks = [(at, end) for at, end in pairwise(ends_of_records(data)) if data[at] == 6]
    for at, end in chunks[:-1]:
        (tmp_path / path.name).write_bytes(data[:at] + data[end:])
        found = salvage.read(tmp_path / path.name, tmp_path / "films")
        assert found.damage and content(found) == whole[: found.rows] and found.rows < len(whole)


def attachment(name: str, data: bytes) -> bytes:
    text = struct.pack("<I", len(name)) + name.encode() + struct.pack("<I", 1) + b"j"
    body = struct.pack("<QQ", 0, 0) + text + struct.pack("<Q", len(data)) + data
    body += struct.pack("<I", zlib.crc32(body))
    return b"\x09" + struct.pack("<Q", len(body)) + body


@pytest.mark.parametrize(
    "change",
    [
        lambda head: {**head, "identity": "../../x"},
        lambda head: {**head, "identity": 7},
        lambda head: {**head, "setup": {**head["setup"], "features": {"../a": {"dtype": "float32", "shape": [1]}}}},
        lambda head: {**head, "setup": {**head["setup"], "features": {**head["setup"]["features"],
                      "observation.images/../../x": {"dtype": "video", "shape": [8, 8, 3]}}}},
        lambda head: {**head, "setup": {**head["setup"], "sensors": {"../a": {"dtype": "float32", "shape": [1]}}}},
        lambda head: {**head, "setup": {**head["setup"], "codec": {"name": "mjpeg"}}},
        lambda head: {**head, "setup": {**head["setup"], "codec": {"sneaky": 1}}},
        lambda head: {**head, "setup": {**head["setup"], "fps": None}},
        lambda head: {**head, "setup": []},
        lambda head: {**head, "extra": 3},
        lambda head: [head],
    ],
)  # fmt: skip
def test_a_head_that_lies_is_refused(kept: tuple[Path, Recorder, Path], tmp_path: Path, change: object) -> None:
    path, _, _ = kept
    found = salvage.read(path, tmp_path / "films")
    head = change(found.head.to_json())  # type: ignore[operator]
    (tmp_path / path.name).write_bytes(b"\x89MCAP0\r\n" + attachment("take.json", json.dumps(head).encode()))
    with pytest.raises(SourceError, match="no journal"):
        salvage.read(tmp_path / path.name, tmp_path / "films")
    assert [p.name for p in (tmp_path / "films").iterdir()] == ["camera-0.packets"]


def test_nothing_is_taken_that_is_too_large_or_packed(kept: tuple[Path, Recorder, Path], tmp_path: Path) -> None:
    path, _, _ = kept
    head = attachment("take.json", json.dumps(salvage.read(path, tmp_path / "f").head.to_json()).encode())
    plain = struct.pack("<QQQI", 0, 0, 1 << 60, zlib.crc32(b"")) + struct.pack("<I", 4)
    packed = plain + b"zstd" + struct.pack("<Q", 0)
    for record in (
        b"\x06" + struct.pack("<Q", 1 << 62) + bytes(1 << 19),
        b"\x06" + struct.pack("<Q", len(packed)) + packed,
        b"\x77" + struct.pack("<Q", 3) + b"abc",
        attachment("kept.json", b"[1]"),
        attachment("kept.json", b'{"success": 3}'),
        attachment("label/../../x", b""),
        attachment("label/x", b"no arrow"),
    ):
        (tmp_path / path.name).write_bytes(b"\x89MCAP0\r\n" + head + record)
        found = salvage.read(tmp_path / path.name, tmp_path / "f")
        assert found.damage and not found.rows, record[:20]
    assert "compressed" in damage_of(tmp_path / path.name, head + b"\x06" + struct.pack("<Q", len(packed)) + packed)
    with (tmp_path / path.name).open("wb") as file:  # a record that is there, most of it as a hole
        file.write(b"\x89MCAP0\r\n" + head + b"\x06" + struct.pack("<Q", 65 << 20))
        file.truncate(80 << 20)
    assert "the most" in salvage.read(tmp_path / path.name, tmp_path / "f").damage


def damage_of(path: Path, records: bytes) -> str:
    path.write_bytes(b"\x89MCAP0\r\n" + records)
    return salvage.read(path, path.parent / "f").damage


def test_a_take_without_cameras_is_journalled_too(tmp_path: Path) -> None:
    robot = FaultyRobot(cameras={})
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        filled(recorder, robot, 7).leave()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        assert [found.rows for found in recorder.recovered] == [7]
