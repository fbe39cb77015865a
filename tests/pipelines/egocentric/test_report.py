"""The report of hands: its figures are those of the columns, its text is only text, and it needs nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from accessible import problems
from browser import browser
from hands_seen import seen
from hypothesis import given as drawn
from hypothesis import strategies as st
from page_read import HOSTILE, Reader
from PIL import Image

from dataengine import hands
from dataengine.episode import Episode, Label, Step
from dataengine.errors import ConfigError, EpisodeError
from dataengine.flow.folder import FlowFolder, append_line
from dataengine.store import Store
from pipelines.egocentric import trust, views
from pipelines.egocentric.curves import Curve, Panel, _ticks, lanes, panels
from pipelines.egocentric.overlay import strip
from pipelines.egocentric.report import HandReport, _places
from pipelines.retarget.stage import Retarget


def unsure(frames: int = 90, side: str = "right", name: str = "film.mp4", task: str = "pick it up") -> Episode:
    """A hand that is sure to 20 mm and 0.1 rad, then for 12 frames to 80 mm and 0.5 rad, bridged in 4, away in 5."""
    given = seen(frames=frames, side=side).episode
    sigma, tracked = (given.frames[hands.column(side, part)].copy() for part in ("sigma", "tracked"))
    sigma[60:72] = (0.08, 0.5)
    tracked[20:24], tracked[80:85] = hands.FILLED, hands.ABSENT
    changed = {hands.column(side, "sigma"): sigma, hands.column(side, "tracked"): tracked}
    meta = replace(given.meta, tasks=(task,), source={"file": name, "sha256": name})
    return replace(given, id=f"id-{name}"[:40], frames={**given.frames, **changed}, meta=meta)


def stored(path: Path, episodes: list[Episode]) -> Path:
    store = Store.create(path, fps=episodes[0].fps, features=episodes[0].features)
    with store.writer() as writer:
        for episode in episodes:
            writer.append(episode)
    return path


def test_figures_are_those_of_the_frames_that_show_the_hand() -> None:
    episode = unsure()
    figures = trust.hand_figures(episode, "right")
    assert figures is not None and trust.hand_figures(episode, "left") is None
    sigma = episode.frames[hands.column("right", "sigma")].astype(float)
    there = episode.frames[hands.column("right", "tracked")] > 0
    for name, column in (("place_mm", 1e3 * sigma[there, 0]), ("rotation_deg", np.rad2deg(sigma[there, 1]))):
        assert figures[name]["median"] == pytest.approx(np.median(column), abs=1e-3)
        assert figures[name]["p90"] == pytest.approx(np.quantile(column, 0.9), abs=1e-3)
        assert figures[name]["most"] == pytest.approx(column.max(), abs=1e-3)
    assert figures["place_mm"]["median"] == pytest.approx(20) and figures["rotation_deg"]["most"] > 28
    assert figures["bridged"] == pytest.approx(4 / 90, abs=1e-4) and figures["absent"] == pytest.approx(
        5 / 90, abs=1e-4
    )


def test_a_band_lies_along_the_line_of_sight() -> None:
    episode = unsure()
    way, sigma = trust.wrist_path(episode, "right")
    np.testing.assert_allclose(way, episode.frames[hands.column("right", "wrist")][:, :3], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(sigma, axis=1), trust.sigma_of(episode, "right")[:, 0], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.cross(np.abs(way), sigma)).max(), 0, atol=1e-6)


def test_the_clips_own_share_is_told_apart() -> None:
    episode = unsure()
    extra = {**episode.meta.extra, "hands": {"right": {"distance_spread": 0.1}}}
    known = replace(episode, meta=replace(episode.meta, extra=extra))
    there = trust.there_of(episode, "right")
    far = np.median(episode.frames[hands.column("right", "wrist")][there, 2])
    assert trust.hand_figures(known, "right")["place_common_mm"] == pytest.approx(100 * far, abs=0.1)
    assert "place_common_mm" not in trust.hand_figures(episode, "right")


def test_the_page_and_its_figures(tmp_path: Path) -> None:
    """Thresholds cut in millimetres and degrees, the cuts of one clip count once, and hostile words stay words."""
    clip = unsure(task=HOSTILE, name=f"{HOSTILE}.mp4")
    pieces = list(Retarget(jump=None, sigma=0.05, turn_sigma=0.3, shortest=0.1).run(iter([clip])))
    assert len(pieces) == 3
    store = stored(tmp_path / "store", pieces)
    folder = FlowFolder(store)
    append_line(folder.events, {"event": "drop", "episode": "of a run before", "stage": "cut_hands", "reason": "old"})
    append_line(folder.events, {"event": "start"})
    append_line(folder.events, {"event": "drop", "episode": "dull.mp4", "stage": "cut_hands", "reason": HOSTILE})
    told = HandReport(episodes=2, height=64).run(store, tmp_path / "out")
    cut = {each["reason"]: each["frames"] for each in told["cut"]}
    assert cut == {"sigma": 12, "turn_sigma": 12, "tracked": 5} and told["dropped"] == 1
    assert told["frames"]["right"] == {"seen": 69, "bridged": 4, "absent": 0}
    assert told["uncertainty"]["place_mm"]["most"] == pytest.approx(20)
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["episode"] for row in kept["each"]] == [0, 1, 2] and kept["dropped"][0]["episode"] == "dull.mp4"
    assert kept["cut"] == told["cut"] and kept["each"][0]["rotation_deg"]["median"] == pytest.approx(5.73, abs=0.01)
    page = (tmp_path / "out" / "report.html").read_text()
    seen_ = Reader(page)
    assert set(seen_.tags).isdisjoint({"script", "iframe", "object", "embed", "form", "link", "base"})
    assert not [name for name, _ in seen_.attributes if name.startswith("on")]
    assert all(value.startswith("data:image/") for name, value in seen_.attributes if name in ("src", "href"))
    assert "url(" not in page and "@import" not in page and "default-src 'none'" in page and "\u202e" not in page
    assert seen_.text.count("alert('x')") >= seen_.text.count("{{ 7*7 }}") >= 3  # names are cut short
    text = " ".join(seen_.text.split())
    assert "the wrist's place is sure to 80 mm, asked for are 50 mm" in text
    assert "17 frames were cut out by retargeting and 1 whole episode was sorted out" in text
    assert "of a run before" not in text and "movements" in text
    assert "from 2.8 s on" in text and "0.0 s" in text and "(least sure)" in text
    assert "What was cut out of this clip, in words" in text
    assert {"svg", "img", "polyline", "polygon"} <= set(seen_.tags)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"episode-000000.jpg", "episode-000002.jpg", "report.html", "report.json"}


def test_robot_and_world_are_drawn_where_they_are_asked_for(tmp_path: Path) -> None:
    given = seen(frames=12)
    (episode,) = Retarget(camera=given.pose, jump=None, shortest=0).run(iter([given.episode]))
    store = stored(tmp_path / "store", [episode])
    told = HandReport(height=64, robot=True, world=True, videos=True).run(store, tmp_path / "out")
    assert told["dropped"] == 0
    text = Reader((tmp_path / "out" / "report.html").read_text()).text
    assert "The robot where the hand is" in text and "lie in its arm's reach" in text
    from dataengine.video import VideoClip

    film = VideoClip.from_file(tmp_path / "out" / "episode-000000.mp4")
    assert (film.height, film.width, film.length) == (64, 86 + 86 + 64, 12)


def test_an_episode_that_cannot_be_drawn_says_so_and_the_report_goes_on(tmp_path: Path) -> None:
    plain = seen(frames=12).episode
    HandReport(height=64, robot=True).run(stored(tmp_path / "plain", [plain]), tmp_path / "one")
    assert "no robot is drawn" in (tmp_path / "one" / "report.html").read_text()
    given = seen(frames=12)
    bare = replace(given.episode, meta=replace(given.episode.meta, extra={}))
    (episode,) = Retarget(camera=given.pose, jump=None, shortest=0).run(iter([bare]))
    HandReport(height=64, robot=True).run(stored(tmp_path / "bare", [episode]), tmp_path / "two")
    assert "nobody knows where the robot is seen" in (tmp_path / "two" / "report.html").read_text()


def test_what_was_done_about_faces_is_said_on_the_page_as_text(tmp_path: Path) -> None:
    episode = unsure()
    hidden = {"detector": HOSTILE, "measured": None, "blurred": True, "video": {"frames": 90, "faces": 2}}
    episode = replace(episode, meta=replace(episode.meta, extra={**episode.meta.extra, "faces": hidden}))
    HandReport(episodes=1, height=64).run(stored(tmp_path / "store", [episode]), tmp_path / "out")
    page = Reader((tmp_path / "out/report.html").read_text())
    shown = HOSTILE.replace("\u202e", "\\u202e")  # what turns the direction of text is shown, not done
    assert f"Faces: {shown}, recall not known; 2 faces in 1 of 1 video; blurred." in page.text
    assert not any("evil" in value for _, value in page.attributes)
    assert "blurred" in json.loads((tmp_path / "out/report.json").read_text())["faces"]


def test_hands_that_nobody_sees(tmp_path: Path) -> None:
    episode = seen(frames=12).episode
    key = hands.column("right", "tracked")
    empty = replace(episode, frames={**episode.frames, key: np.zeros(12, np.int64)})
    told = HandReport(height=64).run(stored(tmp_path / "store", [empty]), tmp_path / "out")
    assert told["uncertainty"] is None
    assert "No frame of this dataset shows a hand" in (tmp_path / "out" / "report.html").read_text()


def test_cuts_that_somebody_wrote_are_not_believed() -> None:
    (_, episode, *_) = Retarget(jump=None, sigma=0.05, shortest=0.1).run(iter([unsure()]))
    label = episode.labels["retarget_cuts"]
    rows = label.table.to_pylist()
    for start, stop in ((5, 2), (-1, 4), (0, 2**60)):
        table = pa.Table.from_pylist([{**rows[0], "start": start, "stop": stop}], label.table.schema)
        with pytest.raises(EpisodeError, match="holds a span"):
            trust.cuts_of(episode.with_label("retarget_cuts", replace(label, table=table)))


def test_words_of_labels_are_only_words(tmp_path: Path) -> None:
    (_, episode, *_) = Retarget(jump=None, sigma=0.05, shortest=0.1).run(iter([unsure()]))
    label = episode.labels["retarget_cuts"]
    said = dict.fromkeys(("side", "reason", "text"), f"\u202e{HOSTILE}")
    rows = [{**row, **said} for row in label.table.to_pylist()]
    odd = replace(label, table=pa.Table.from_pylist(rows, label.table.schema))
    HandReport(height=64).run(stored(tmp_path / "store", [episode.with_label("retarget_cuts", odd)]), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    found = Reader(page)
    assert "script" not in found.tags and not [name for name, _ in found.attributes if name.startswith("on")]
    assert "\u202e" not in page and found.text.count("alert('x')") > 2


def test_frames_lost_count_once() -> None:
    def cut(start: int, stop: int, reason: str = "reach") -> dict:
        return {"start": start, "stop": stop, "reason": reason}

    cuts = [cut(3, 9), cut(5, 7, "sigma"), cut(8, 12, "tracked"), cut(20, 21), cut(30, 32, "jump")]
    assert trust.lost_frames(cuts) == 10 and trust.lost_by_reason(cuts)["reach"] == 7


def test_drawings_are_well_formed_and_within_their_box() -> None:
    values = np.sin(np.arange(3000) / 50)
    there = np.ones(3000, bool)
    there[500:800] = False
    shown = panels(
        [Panel((HOSTILE, "mm"), [Curve(values, there, "right", np.full(3000, 0.5))], levels=[0.3])], 3000, 30
    )
    again = lanes([(HOSTILE, [(0, 5, "cut", HOSTILE), (2990, 4000, "kept", "")])], 0, 3000, 30)
    from xml.etree import ElementTree

    for drawing in (shown, again):
        root = ElementTree.fromstring(str(drawing))
        _, _, wide, high = map(float, root.attrib["viewBox"].split())
        for node in root.iter():
            for point in node.attrib.get("points", "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= wide and 0 <= y <= high
            if node.tag == "rect":
                right = float(node.attrib["x"]) + float(node.attrib["width"])
                assert right <= wide + 0.1
    assert len(ElementTree.fromstring(str(shown)).findall("polyline")) == 2
    flat = panels([Panel(("still", "mm"), [Curve(np.zeros(4), np.ones(4, bool), "left")])], 4, 30)
    assert "nan" not in flat and "inf" not in flat


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"episodes": 0}, "episodes"),
        ({"episodes": 101}, "1 to 100"),
        ({"height": 65}, "even"),
        ({"height": 10}, "64 to 2160"),
        ({"opacity": 1.5}, "opacity"),
        ({"world": True, "height": 720}, "640"),
        ({"model": Path("none.xml")}, "no file"),
    ],
)
def test_parameters_that_make_no_sense(params: dict, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        HandReport(**params)


def dropping(store: Path, *events: dict) -> trust.Dropped:
    for event in events:
        append_line(FlowFolder(store).events, event)
    return trust.dropped(store)


def test_what_an_earlier_run_dropped_stays_told_when_the_flow_goes_on(tmp_path: Path) -> None:
    """A run that was ended early says nothing of what it did not come to."""
    videos = {"path": "/films/videos", "frames": 900, "fps": 30.0}
    first = [
        {"event": "start", "run": "1", "plan": [videos]},
        {"event": "episode", "run": "1", "episode": "videos:a.mp4"},
        {"event": "drop", "run": "1", "episode": "videos:a.mp4", "stage": "cut_hands", "reason": "no hand"},
        {"event": "drop", "run": "1", "episode": "videos:a.mp4", "stage": "cut_hands", "reason": "no sure hand"},
        {"event": "quarantine", "run": "1", "episode": "videos:b.mp4", "stage": "read", "reason": "torn"},
    ]
    store = tmp_path / "store"
    found = dropping(store, *first)
    assert [row["reason"] for row in found.rows] == ["no hand", "no sure hand", "torn"] and found.seconds == 30
    assert dropping(store, {"event": "start", "run": "2", "plan": [videos]}) == found
    tried = {"event": "drop", "run": "2", "episode": "videos:a.mp4", "stage": "retarget", "reason": "out of reach"}
    assert {row["reason"] for row in dropping(store, tried).rows} == {"out of reach", "torn"}
    before = HandReport().also(store)  # its page is drawn again where it would say another thing
    mended = dropping(store, {"event": "episode", "run": "3", "episode": "videos:b.mp4"})
    assert HandReport().also(store) != before
    assert [row["reason"] for row in mended.rows] == ["out of reach"] and mended.total == 1
    others = {"event": "start", "run": "4", "plan": [{"path": "/films/others", "frames": None, "fps": 30.0}, 3]}
    assert dropping(store, others) == trust.Dropped([], 0, None)


def test_a_flow_that_goes_on_says_what_it_dropped_before(tmp_path: Path) -> None:
    """The same through the flow itself: its report is drawn anew with another parameter, nothing is read again."""
    from dataengine.flow import run_flow

    def spoilt(name: str) -> Episode:
        episode = unsure(name=name)
        key = hands.column("right", "sigma")
        return replace(episode, frames={**episode.frames, key: np.full_like(episode.frames[key], 0.5)})

    stored(tmp_path / "source", [unsure(), spoilt("bad.mp4")])
    for shown in (1, 2):
        flow = {
            "name": "goes on",
            "source": {"path": str(tmp_path / "source")},
            "stages": [{"cut_hands": {"sigma": 0.05, "moving": 0.0}}],
            "out": str(tmp_path / "out"),
            "then": [{"hand_report": {"episodes": shown, "height": 64}}],
        }
        result = run_flow(flow, scheduler="inprocess", progress=False)
        assert (result.kept, result.dropped) == (1, 1)
        said = json.loads((tmp_path / "out.flow" / "01-hand_report" / "report.json").read_text())
        assert said["dropped_count"] == 1 and "is sure to 500 mm" in said["dropped"][0]["reason"]
        assert said["seconds"] == {"given": pytest.approx(6.0), "kept": pytest.approx(3.0, abs=0.2)}


def test_hands_without_pictures_have_a_page_too(tmp_path: Path) -> None:
    episode = unsure()
    blind = replace(episode, features={k: f for k, f in episode.features.items() if not f.is_camera}, clips={})
    told = HandReport(height=64, videos=True).run(stored(tmp_path / "store", [blind]), tmp_path / "out")
    page = Reader((tmp_path / "out" / "report.html").read_text())
    assert "has no pictures to draw on" in page.text and "img" not in page.tags and "polyline" in page.tags
    assert told["shown"][0]["hands"] == "" and {p.suffix for p in (tmp_path / "out").iterdir()} == {".html", ".json"}


def test_pictures_say_when_they_are_and_show_the_least_sure(tmp_path: Path) -> None:
    episode = unsure()
    key = hands.column("right", "sigma")
    sigma = episode.frames[key].copy()
    sigma[33] = (0.3, 0.1)
    episode = replace(episode, frames={**episode.frames, key: sigma})
    HandReport(height=64).run(stored(tmp_path / "store", [episode]), tmp_path / "out")
    page = Reader((tmp_path / "out" / "report.html").read_text())
    times = "0.0 s, 0.7 s, 1.1 s (least sure), 1.5 s, 2.2 s, 3.0 s"
    assert times in page.text and any(name == "alt" and times in value for name, value in page.attributes)


def test_what_the_embedded_world_cannot_reach_has_a_lane() -> None:
    (episode,) = Retarget(jump=None, shortest=0).run(iter([seen(frames=60).episode]))
    reached = np.ones(60, bool)
    reached[5:15] = reached[40:] = False
    drawing = str(views.spans(episode, {"right": reached}))
    assert drawing.count("right hand out of reach in the embedded world") == 2 and "world: no reach" in drawing
    assert "no reach" not in str(views.spans(episode))


@drawn(st.integers(1, 300), st.integers(1, 100), st.data())
def test_the_least_sure_episode_is_always_shown(count: int, wanted: int, data: st.DataObject) -> None:
    worst = data.draw(st.integers(0, count - 1))
    found = _places(count, wanted, [{"episode": worst}, {"episode": 0}])
    assert len(found) == min(count, wanted) and found == sorted(set(found)) and worst in found
    assert found[0] >= 0 and found[-1] < count and len(_places(count, wanted, [])) == len(found)


def test_grasps_stand_in_a_lane_where_they_are_and_strangers_are_refused() -> None:
    (episode,) = Retarget(jump=None, shortest=0).run(iter([seen(frames=60).episode]))
    table = pa.table({"start": [10], "stop": [25], "side": ["right"], "travel": [0.042]})
    held = episode.with_label("grasp", Label("span", table, {}))
    drawing = str(views.spans(held))
    assert "right carries" in drawing and "right gripper closed and moved 42 mm: frames 10 to 25" in drawing
    assert "carries" not in str(views.spans(episode.with_label("grasp", Label("span", table.slice(0, 0), {}))))
    wrong = pa.table({"start": [25], "stop": [10], "side": ["right"], "travel": [0.0]})
    with pytest.raises(EpisodeError, match="label grasp holds a span"):
        views.spans(episode.with_label("grasp", Label("span", wrong, {})))


@pytest.mark.parametrize("space", ["hand", "dexterous"])
def test_thresholds_are_drawn_whatever_was_retargeted_to(space: str, tmp_path: Path) -> None:
    step = Step("retarget", "1", {"space": space, "sigma": 0.03}, ("the camera stands still",))
    episode = unsure()
    episode = replace(episode, meta=replace(episode.meta, lineage=(step,)))
    HandReport(height=64, robot=True).run(stored(tmp_path / "store", [episode]), tmp_path / "out")
    page = Reader((tmp_path / "out" / "report.html").read_text())
    levels = [value for name, value in page.attributes if name == "class" and value == "level"]
    assert len(levels) == 2 and "the camera stands still" in page.text  # σ of the place, and the speed
    assert f"retargeted to the space {space}, so no robot is drawn" in page.text


@drawn(st.floats(-1e4, 1e4), st.floats(1e-6, 1e4))
def test_a_scale_has_two_marks_or_more_within_its_ends(low: float, wide: float) -> None:
    high = low + max(wide, 1e-3 * abs(low))
    marks = _ticks(low, high)
    assert 2 <= len(marks) <= 12 and len(set(marks)) == len(marks)
    assert all(low - 1e-3 * (high - low) <= mark <= high + 1e-3 * (high - low) for mark in marks)


def test_pictures_of_a_page_take_little_room() -> None:
    noise = np.random.default_rng(0).integers(90, 160, (120, 160, 3)).astype(np.uint8)
    found = strip([noise, noise[:, :80]])
    image = Image.open(io.BytesIO(found))
    assert (image.format, image.size) == ("JPEG", (244, 120)) and len(found) < noise.size / 3


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything on it, and with words that are long, foreign and hostile."""
    where = tmp_path_factory.mktemp("crowded")
    given = seen(frames=60)
    long = "averylongnamewithoutaspace" * 8
    meta = replace(given.episode.meta, tasks=(HOSTILE, long), source={"file": f"{long}.mp4"})
    clip = replace(given.episode, meta=meta)
    sigma = clip.frames[hands.column("right", "sigma")].copy()
    sigma[50:53] = 0.2
    clip = replace(clip, frames={**clip.frames, hands.column("right", "sigma"): sigma})
    pieces = list(Retarget(camera=given.pose, jump=None, sigma=0.05, shortest=0.1).run(iter([clip])))
    store = stored(where / "store", pieces)
    append_line(FlowFolder(store).events, {"event": "drop", "episode": long, "stage": long, "reason": f"שלום {long}"})
    HandReport(height=64, robot=True).run(store, where / "out")
    return where / "out" / "report.html"


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    with browser() as new:
        yield new()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
def test_the_page_can_be_read_by_all_and_on_a_phone(crowded: Path, chromium, width: int, dark: bool) -> None:
    chromium.size(width, 800, phone=width < 500, dark=dark)
    chromium.open(crowded.as_uri())
    wrong = [said for said in problems(chromium) if "role=status" not in said and "alert region" not in said]
    assert not wrong
    least = """Math.min(...[...document.querySelectorAll("svg text")].map(
        (t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a))"""
    assert chromium.run(least) > 8.5 and not chromium.errors()
