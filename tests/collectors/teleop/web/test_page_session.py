"""A real session of the embedded world, started as a person does, driven in a browser by keys: one episode is kept.

The whole round – solve, keep, discard, redo, undo – is `bench/teleop_page.py`.
"""

from __future__ import annotations

import time
from pathlib import Path

from browser import browser

from bench.teleop_latency import session
from bench.teleop_page import Hands
from dataengine.store import Store


def test_an_episode_is_recorded_by_keys_and_kept(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with browser() as new, session(tmp_path / "store", "--set", "image_size=64") as url:
        page = new()
        page.size(1280, 800)
        page.open(url)
        hands = Hands(page, pictures)
        hands.phase("ready", 60)
        before = hands.look()
        hands.hold(("KeyR",), 0.6)
        assert hands.look()["z"] > before["z"] + 0.02
        hands.lead_on("Space", "recording")
        hands.hold(("KeyW",), 1.0)
        hands.lead_on("PageDown", "review")
        page.key("Space")
        page.wait("document.getElementById('kept').textContent === '1'", 20)
        hands.phase("ready")
        for _ in range(2):
            page.run("document.querySelector('[data-order=finish]').click()")
        page.wait("document.getElementById('lost').textContent.includes('has ended')", 20)
        assert "1\nof 50 episodes kept" in page.run("document.getElementById('summary').innerText")
        assert page.errors() == []
        time.sleep(1)
    (episode,) = Store.open(tmp_path / "store")
    assert len(episode) > 20
