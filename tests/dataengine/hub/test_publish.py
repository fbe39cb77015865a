"""Publishing to the stand-in Hub with the real client: what arrives, what never leaves, what the card says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
import yaml
from huggingface_hub import HfApi, snapshot_download
from video_foreign import moving, with_message, write_video

from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta, Step
from dataengine.errors import ConfigError, DataEngineError, Refused
from dataengine.hub.card import hub_licence, make_card, markdown
from dataengine.hub.croissant import make_croissant
from dataengine.hub.publish import Publish
from dataengine.hub.server import serving
from dataengine.store import Store
from dataengine.video import VideoClip

CAMERA = "observation.images.front"
FEATURES = {
    "observation.state": Feature("float32", (2,), ("x", "y"), "state", "m"),
    "action": Feature("float32", (2,), ("dx", "dy"), "action", "m"),
    CAMERA: Feature("video", (32, 48, 3), ("height", "width", "channels"), "image"),
}


def episode(number: int, **meta: object) -> Episode:
    rng = np.random.default_rng(number)
    frames = {k: rng.normal(size=(6, 2)).astype(np.float32) for k in ("observation.state", "action")}
    clip = ArrayClip(np.full((6, 32, 48, 3), 20 * number, np.uint8), 10.0)
    known = Meta(tasks=("push the cube",), success=True, source={"format": "test", "file": f"{number}.h5"})
    return Episode(f"episode{number}", 10.0, FEATURES, frames, {CAMERA: clip}, meta=replace(known, **meta))


def store_of(folder: Path, *episodes: Episode) -> Path:
    store = Store.create(folder, fps=10.0, features=FEATURES)
    with store.writer() as writer:
        for one in episodes:
            writer.append(one)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "hub") as address:
        yield address


def test_a_dataset_arrives_whole_in_one_commit_with_both_tags(hub: str, tmp_path: Path) -> None:
    path = store_of(tmp_path / "s", episode(1), episode(2))
    report = Publish("local/cubes", licence="mit", endpoint=hub).run(path, tmp_path / "out")
    api = HfApi(endpoint=hub)
    titles = [c.title for c in api.list_repo_commits("local/cubes", repo_type="dataset")]
    assert titles == ["Publish dataset", "initial commit"]
    assert {t.name: t.target_commit for t in api.list_repo_refs("local/cubes", repo_type="dataset").tags} == {
        "v3.0": report["commit"],
        "v3.0.1": report["commit"],
    }
    assert api.repo_info("local/cubes", repo_type="dataset").private
    folder = snapshot_download("local/cubes", repo_type="dataset", endpoint=hub, cache_dir=tmp_path / "cache")
    assert not Store.open(folder).verify().problems
    assert Store.open(folder).digest() == Store.open(path).digest()
    assert not (tmp_path / "out" / "staged").exists()
    assert not [f for f in api.list_repo_files("local/cubes", repo_type="dataset") if ".dataengine" in f.split("/")]


def test_publishing_again_replaces_the_content_and_keeps_the_old_version(hub: str, tmp_path: Path) -> None:
    first = Publish("local/cubes", licence="mit", endpoint=hub).run(
        store_of(tmp_path / "a", episode(1), episode(2)), tmp_path / "o"
    )
    second = Publish("local/cubes", licence="mit", endpoint=hub).run(
        store_of(tmp_path / "b", episode(3)), tmp_path / "o"
    )
    assert second["tags"] == ["v3.0.2", "v3.0"]
    for revision, episodes in (("v3.0.1", 2), ("v3.0.2", 1), ("v3.0", 1), (first["commit"], 2)):
        folder = snapshot_download(
            "local/cubes", repo_type="dataset", endpoint=hub, revision=revision, cache_dir=tmp_path / "cache"
        )
        assert len(Store.open(folder)) == episodes, revision


def test_a_dry_run_describes_and_sends_nothing(hub: str, tmp_path: Path) -> None:
    report = Publish("local/cubes", licence="mit", endpoint=hub, dry_run=True).run(
        store_of(tmp_path / "s", episode(1)), tmp_path / "o"
    )
    assert report["dry_run"] and report["files"] > 5 and "commit" not in report
    assert not HfApi(endpoint=hub).repo_exists("local/cubes", repo_type="dataset")
    assert not (tmp_path / "o").exists()


LEAKS = {
    "path": {"source": {"format": "x", "file": "/home/somebody/robot/mesh.stl"}},
    "windows": {"extra": {"note": "C:\\Users\\somebody\\data"}},
    "token": {"tasks": ("use hf_" + "a1B2" * 9,)},
    "key": {"lineage": (Step("label", "1", {"key": "sk-" + "x" * 40}),)},
    "private": {"operator": "-----BEGIN PRIVATE KEY-----"},
    "url": {"extra": {"from": "https://me:secret@robots.example/data"}},
    "file": {"extra": {"from": "file:///home/somebody/x.h5"}},
    "cluster": {"extra": {"from": "read /scratch/somebody/x.h5"}},
    "drive": {"extra": {"from": "D:/data/somebody/x.h5"}},
    "github": {"extra": {"key": "github_pat_" + "x1" * 30}},
    "google": {"extra": {"key": "AIza" + "x" * 35}},
    "slack": {"extra": {"key": "xoxb-123456789012-abcdef"}},
    "signed": {"extra": {"key": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijklmnop"}},
}


@pytest.mark.parametrize("leak", LEAKS)
def test_secrets_and_paths_stop_it_before_anything_is_sent(hub: str, tmp_path: Path, leak: str) -> None:
    path = store_of(tmp_path / "s", episode(1, **LEAKS[leak]))
    with pytest.raises(Refused, match="not published"):
        Publish("local/cubes", licence="mit", endpoint=hub).run(path, tmp_path / "o")
    assert not HfApi(endpoint=hub).repo_exists("local/cubes", repo_type="dataset")
    assert not list((tmp_path / "o").iterdir()), "no copy stays behind"


@pytest.mark.parametrize("column", [pa.array([f"hf_{'a1B2' * 9}".encode()]), pa.array([["a", f"hf_{'a1B2' * 9}"]])])
def test_secrets_in_labels_stop_it_as_well(tmp_path: Path, column: pa.Array) -> None:
    label = Label("episode", pa.table({"answer": column}), {"name": "a model"})
    path = store_of(tmp_path / "s", replace(episode(1), labels={"note": label}))
    with pytest.raises(Refused, match=r"labels/note/.*Hugging Face token"):
        Publish("local/cubes", licence="mit", dry_run=True).run(path, tmp_path / "o")


@pytest.mark.parametrize(
    "licence", ["mit\nprivate: false", "a" * 200, "<b>mit</b>", "Permission is hereby granted, free"]
)
def test_a_licences_text_is_no_name_of_it(tmp_path: Path, licence: str) -> None:
    with pytest.raises(Refused, match="no name of a licence"):
        Publish("local/cubes", licence=licence, dry_run=True).run(store_of(tmp_path / "s", episode(1)), tmp_path / "o")


def test_people_and_places_are_told_without_being_obeyed(tmp_path: Path) -> None:
    path = store_of(tmp_path / "s", episode(1, operator="me\x1b[31m\n# head", extra={"gps": {"lat": 48.1}}))
    report = Publish("local/cubes", licence="mit", dry_run=True).run(path, tmp_path / "o")
    told = {f["level"]: f["what"] for f in report["findings"]}
    assert told["tell"] == r"names who operated the robot: 'me\x1b[31m\n# head'"
    assert told["warn"] == "says where on earth something is"


def test_what_a_camera_hides_between_the_pictures_is_told(tmp_path: Path) -> None:
    film = write_video(tmp_path, moving(6, 32, 48), rate=10, options={"bf": "0"})
    told = with_message(film, "+48.1+011.5")
    clip = VideoClip.from_file(told)
    path = store_of(tmp_path / "s", replace(episode(1), clips={CAMERA: clip}))
    report = Publish("local/cubes", licence="mit", dry_run=True).run(path, tmp_path / "o")
    assert [f["what"] for f in report["findings"] if f["where"].endswith(".mp4")] == [
        "carries a camera's own data between its pictures, in 1 packets"
    ]


def test_an_upload_that_broke_off_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes one object and dies; the same command later sends the others."""
    from huggingface_hub import lfs

    path, send, sent = store_of(tmp_path / "s", episode(1), episode(2)), lfs._upload_single_part, []
    alive = 0

    def upload(operation, upload_url):
        if alive < len(sent):
            raise httpx.ConnectError("the server is gone")
        sent.append(operation.path_in_repo)
        return send(operation=operation, upload_url=upload_url)

    monkeypatch.setattr(lfs, "_upload_single_part", upload)
    with serving(tmp_path / "hub") as address:
        publish = Publish("local/cubes", licence="mit", endpoint=address)
        with pytest.raises(DataEngineError, match="cannot be reached"):
            publish.run(path, tmp_path / "o")
        assert HfApi(endpoint=address).list_repo_files("local/cubes", repo_type="dataset") == []
        first, sent, alive = set(sent), [], 100
        publish.run(path, tmp_path / "o")
        assert sent and first and not first & set(sent)
        folder = snapshot_download("local/cubes", repo_type="dataset", endpoint=address, cache_dir=tmp_path / "cache")
    assert Store.open(folder).digest() == Store.open(path).digest()


def test_a_damaged_store_is_not_published(hub: str, tmp_path: Path) -> None:
    path = store_of(tmp_path / "s", episode(1))
    video = next(path.glob("videos/**/*.mp4"))
    video.write_bytes(video.read_bytes()[:-50])
    with pytest.raises(Refused):
        Publish("local/cubes", licence="mit", endpoint=hub).run(path, tmp_path / "o")


def test_a_public_dataset_needs_a_licence(hub: str, tmp_path: Path) -> None:
    path = store_of(tmp_path / "s", episode(1))
    with pytest.raises(Refused, match="licence"):
        Publish("local/cubes", private=False, endpoint=hub).run(path, tmp_path / "o")
    report = Publish("local/cubes", endpoint=hub).run(path, tmp_path / "o")
    assert [f["level"] for f in report["findings"] if f["where"] == "licence"] == ["warn"]


def test_the_episodes_own_licence_is_used(hub: str, tmp_path: Path) -> None:
    path = store_of(tmp_path / "s", episode(1, licence="cc-by-4.0"))
    report = Publish("local/cubes", private=False, endpoint=hub).run(path, tmp_path / "o")
    assert report["licence"] == "cc-by-4.0"


@pytest.mark.parametrize("name", ["cubes", "a/b/c", "../x", "me/..", "me/", "a--b/c"])
def test_a_name_that_is_no_repository_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="owner/name"):
        Publish(name).run(tmp_path, tmp_path / "o")


HOSTILE = "<script>alert(1)</script>\n---\nlicense: evil\n# [x](javascript:alert(1)) `a` | b"


def test_text_from_episodes_is_data_in_the_card(tmp_path: Path) -> None:
    path = store_of(tmp_path / "s", episode(1, tasks=(HOSTILE,), embodiment=HOSTILE))
    card = make_card(Store.open(path), "me/cubes", licence="mit")
    front = yaml.safe_load(card.text.split("---\n")[1])
    assert front["license"] == "mit" and front["configs"]
    body = card.text.split("---\n", 2)[2]
    assert "<script" not in body and "](javascript" not in body and "\n---\n" not in body and "\n# \\[x" not in body


@pytest.mark.parametrize(
    ("licence", "written"), [("MIT", "mit"), (None, "unknown"), ("Apache-2.0 AND MIT", ["apache-2.0", "mit"])]
)
def test_a_licence_is_written_as_the_hub_does(licence: str | None, written: object) -> None:
    assert hub_licence(licence) == written


def test_markdown_is_literal() -> None:
    assert "\n" not in markdown("a\n\n# b") and markdown("a_b*c") == "a\\_b\\*c" and markdown("<b>") == "&lt;b&gt;"
    assert markdown("a\u202eb\x1bc\x00") == "a\ufffdb\ufffdc\ufffd"


def test_the_card_shows_pictures_statistics_and_where_it_comes_from(tmp_path: Path) -> None:
    step = Step("convert", "1", {}, ("fps = 10: the file does not say",))
    path = store_of(tmp_path / "s", episode(1, lineage=(step,)), episode(2))
    card = make_card(Store.open(path), "me/cubes", licence="mit")
    assert card.pictures and all(png[:8] == b"\x89PNG\r\n\x1a\n" for png in card.pictures.values())
    for said in ("push the cube", "Episodes", "assumed: fps", "1.h5", "LeRobotDataset", "@misc"):
        assert said in card.text, said


def test_croissant_is_valid_for_its_own_checker(tmp_path: Path) -> None:
    import mlcroissant

    path = store_of(tmp_path / "s", episode(1))
    content = make_croissant(Store.open(path), "me/cubes", "https://hub.example/datasets/me/cubes", licence="mit")
    dataset = mlcroissant.Dataset(jsonld=json.loads(json.dumps(content)))
    assert not dataset.metadata.issues.errors, dataset.metadata.issues.errors
    fields = {f.name for rs in dataset.metadata.record_sets for f in rs.fields}
    assert {"observation.state", "action", "timestamp", "episode_index"} <= fields
