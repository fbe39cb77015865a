"""Tasks that a model names: against a server of the test's own that speaks chat completions."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.errors import ConfigError, EpisodeError
from dataengine.flow import run_flow
from dataengine.store import Store
from dataengine.store.gather import append_all
from pipelines.task_text import TaskText, sentence


class Server(ThreadingHTTPServer):
    """Answers `answer`, or a status; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.answer: str | int = "put the red cube into the bin"
        self.asked: list[tuple[dict[str, Any], str]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Asked(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((body, self.headers["Authorization"]))
        answer = self.server.answer
        said = {
            "id": "1", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}],
        }  # fmt: skip
        content = json.dumps(said if isinstance(answer, str) else {"error": {"message": "no such model"}}).encode()
        self.send_response(200 if isinstance(answer, str) else answer)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def episode(task: str = "", length: int = 50) -> Episode:
    """Its pictures grow brighter by 5 a frame."""
    pictures = np.repeat(np.arange(length, dtype=np.uint8)[:, None, None, None] * 5, 48, 1).repeat(64, 2).repeat(3, 3)
    features = {
        "action": Feature("float32", (2,), role="action"),
        "observation.state": Feature("float32", (2,), role="state"),
        "observation.images.ego": Feature("video", (48, 64, 3), ("height", "width", "channels"), "image"),
    }
    columns = {key: np.zeros((length, 2), np.float32) for key in ("action", "observation.state")}
    clips = {"observation.images.ego": ArrayClip(pictures, 10.0)}
    return Episode(f"e{task}", 10.0, features, columns, clips, meta=Meta(tasks=(task,))).check()


def named(server: Server, given: Episode, **params: Any) -> Episode:
    (found,) = TaskText(url=server.url, model="seer", **params).run(iter([given]))
    assert isinstance(found, Episode)
    return found


def test_pictures_are_shown_in_order_and_the_answer_becomes_the_task(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    found = named(server, episode(), pictures=5, side=64, key="MY_KEY", language="German")
    assert found.meta.tasks == ("put the red cube into the bin",)
    ((body, key),) = server.asked
    assert key == "Bearer secret" and body["model"] == "seer" and body["temperature"] == 0
    assert "German" in body["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in body["messages"][1]["content"]]
    seen = [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))) for url in urls]
    (row,) = found.labels["task_text"].table.to_pylist()
    assert row["frames"] == [0, 12, 24, 37, 49] and row["camera"] == "observation.images.ego"
    assert [round(float(picture.mean()) / 5) for picture in seen] == row["frames"]
    assert {picture.shape for picture in seen} == {(48, 64, 3)}
    step = found.meta.lineage[-1]
    assert step.name == "task_text" and step.params["model"] == "seer" and "secret" not in json.dumps(step.params)


def test_what_has_a_task_is_not_asked_for_unless_wanted(server: Server) -> None:
    told = episode("stack the cups")
    assert named(server, told) is told and not server.asked
    assert named(server, told, again=True).meta.tasks == ("put the red cube into the bin",)
    assert named(server, episode(length=3), pictures=8).labels["task_text"].table["frames"][0].as_py() == [0, 1, 2]


@pytest.mark.parametrize("answer", ["UNKNOWN", "", "I see:\n- a hand\n- a cup", "…", "a\x00b", "word " * 60])
def test_an_answer_that_is_no_sentence_leaves_the_episode_as_it_was(server: Server, answer: str) -> None:
    server.answer = answer
    found = named(server, episode())
    assert found.meta.tasks == ("",) and found.meta.lineage == ()
    (row,) = found.labels["task_text"].table.to_pylist()
    assert row["text"] == "" and row["answer"] == answer[:1000]


@given(st.text(max_size=300))
def test_a_task_is_one_printable_line_whatever_is_said(answer: str) -> None:
    text = sentence(answer)
    assert text is None or (text.isprintable() and 0 < len(text) <= 200 and text == " ".join(text.split()))


def test_quotes_and_marks_around_a_sentence_go() -> None:
    assert sentence(' **"Put the cup down."**\n') == "Put the cup down"
    assert sentence("unknown.") is None


def test_a_server_that_refuses_or_is_not_there_is_named(server: Server) -> None:
    server.answer = 404
    with pytest.raises(EpisodeError, match=rf"{server.url} did not name its task: .*no such model"):
        named(server, episode())
    with pytest.raises(EpisodeError, match="did not name its task"):
        list(TaskText(url="http://127.0.0.1:9/v1", model="seer", timeout=1).run(iter([episode()])))
    with pytest.raises(EpisodeError, match=r"the camera 'top'; it has observation\.images\.ego"):
        named(server, episode(), camera="top")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "localhost:8000"}, {"url": "file:///etc/passwd"}, {"url": "http://me:secret@host/v1"}, {"model": " "},
        {"pictures": 0}, {"side": 9}, {"timeout": 0},
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="task_text"):
        TaskText(**({"url": "http://localhost:1/v1", "model": "seer"} | wrong))


def test_a_flow_asks_once_for_each_episode_that_needs_it(server: Server, tmp_path: Path) -> None:
    append_all([episode(), episode("stack the cups")], tmp_path / "in")
    flow = {
        "name": "named",
        "source": [{"path": str(tmp_path / "in")}],
        "stages": [{"task_text": {"url": server.url, "model": "seer"}}],
        "out": str(tmp_path / "out"),
    }
    for _ in range(2):
        run_flow(flow, scheduler="inprocess", progress=False)
    assert len(server.asked) == 1
    kept = Store.open(tmp_path / "out")
    assert sorted(kept[n].meta.tasks[0] for n in range(2)) == ["put the red cube into the bin", "stack the cups"]
