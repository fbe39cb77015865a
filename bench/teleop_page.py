"""The page and a whole session, driven in a real browser with keys alone: solve, keep, discard, redo, undo, finish.

`dataengine collect teleop --sim` runs as a person starts it. The hands here know where the thing lies, since the scene
of a seed is always the same, and see only what the page shows: they press a key for as long as the way is, look at the
read-outs, and press again. Screenshots of every phase go into `out/teleop_page/`, to be looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.results import record
from bench.teleop_latency import session
from dataengine.sim.rules.base import across
from dataengine.sim.world import Tabletop
from dataengine.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from accessible import problems
from browser import Page, browser

TASK, SEED = "pick_red_cube", 11
SLOW = 0.3 * 0.15  # [m/s] of the keyboard with Shift
FAST = 0.15
TURN = 1.2  # [rad/s]
NEAR = 0.006  # [m]
# By axis of the tool's pose: the keys that make it grow and shrink, seen from the front camera.
KEYS = {"x": ("KeyS", "KeyW"), "y": ("KeyD", "KeyA"), "z": ("KeyR", "KeyF"), "yaw": ("KeyQ", "KeyE")}


@dataclass
class Hands:
    """Keys of one page, and what it shows. folder: for screenshots."""

    page: Page
    folder: Path

    def look(self) -> dict[str, float]:
        """The read-outs of the robot's state, once they are newer than now."""
        time.sleep(0.25)
        shown = self.page.run(
            "Object.fromEntries([...document.querySelectorAll('#state dt')].map((dt) => [dt.textContent,"
            " Number(dt.nextElementSibling.textContent)]))"
        )
        return {name.removeprefix("ee."): value for name, value in shown.items()}

    def hold(self, codes: tuple[str, ...], seconds: float) -> None:
        for code in codes:
            self.page.key(code, up=False)
        time.sleep(seconds)
        for code in reversed(codes):
            self.page.key(code, down=False)

    def go(self, near: float = NEAR, **to: float) -> None:
        """One axis after the other, until each is as near as that. Raises `AssertionError` if it gets nowhere."""
        for _ in range(40):
            now = self.look()
            axis = max(to, key=lambda name: abs(to[name] - now[name]))
            way = to[axis] - now[axis]
            if abs(way) < (0.1 if axis == "yaw" else near):
                return
            key = KEYS[axis][way < 0]
            full = TURN if axis == "yaw" else FAST
            if abs(way) > 0.25 * full:
                self.hold((key,), abs(way) / full - 0.12)
            else:
                self.hold(("ShiftLeft", key), max(0.02, abs(way) / (0.3 * full) - 0.1))
        raise AssertionError(f"the tool does not get to {to}; it is at {self.look()}")

    def lead_on(self, key: str, to: str) -> None:
        """Press a key that leads to a phase, again where the session asks for a moment."""
        for _ in range(10):
            self.page.key(key)
            try:
                self.page.wait(f"document.body.dataset.phase === '{to}'", 3)
                break
            except AssertionError:
                continue
        self.phase(to, 1)

    def phase(self, name: str, seconds: float = 20.0) -> None:
        """Wait for a phase, look at the page, and let nobody be shut out of it."""
        self.page.wait(f"document.body.dataset.phase === '{name}'", seconds)
        time.sleep(0.3)
        self.page.picture(self.folder / f"{len(list(self.folder.iterdir())):02d}-{name}.png")
        assert problems(self.page) == []


def drive(url: str, page: Page, folder: Path) -> dict[str, Any]:
    """The whole sitting; what came of it."""
    hands = Hands(page, folder)
    world = Tabletop(cameras=(), arm="five", fps=30.0)
    page.size(1280, 800)
    page.open(url)
    hands.phase("ready", 60)
    begin = time.monotonic()
    pick(hands, world, SEED)
    solved = time.monotonic() - begin
    hands.phase("review")
    page.wait("document.querySelector('#verdict .grade')", 10)
    verdict = page.run("document.getElementById('verdict').innerText")
    progress = page.run("document.querySelector('[data-order=success]').getAttribute('aria-pressed')")
    page.key("Space")  # keep
    page.wait("document.getElementById('kept').textContent === '1'", 20)

    hands.phase("ready")
    hands.lead_on("PageDown", "recording")
    hands.hold(("KeyS",), 0.5)
    page.key("KeyB")
    hands.phase("review")
    page.key("Delete")  # discard
    hands.phase("ready")
    hands.lead_on("Space", "recording")
    hands.hold(("KeyW",), 0.5)
    page.key("Digit4")  # redo: the same scene again
    hands.phase("ready")
    hands.lead_on("Space", "recording")
    hands.hold(("KeyR",), 1.5)
    page.key("Space")
    hands.phase("review")
    page.key("Space")
    page.wait("document.getElementById('kept').textContent === '2'", 20)
    hands.phase("ready")
    for _ in range(2):  # undo wants to be said twice
        page.key("Digit5")
        time.sleep(0.3)
    page.wait("document.getElementById('kept').textContent === '1'", 20)
    page.key("Escape")
    hands.phase("held")
    page.click("#next")
    hands.phase("ready")
    for _ in range(2):
        page.run("document.querySelector('[data-order=finish]').click()")
    hands.phase("done")
    summary = page.run("document.getElementById('summary').innerText").split("\n")
    return {
        "solved_in_s": round(solved, 1),
        "judged_success": progress == "true",
        "verdict": verdict.split("\n")[:3],
        "summary": " ".join(part for part in summary if part),
        "errors": [error for error in page.errors() if "WebSocket" not in error],
    }


def pick(hands: Hands, world: Tabletop, seed: int) -> None:
    """Over the cube, down, close, up; recorded."""
    world.reset(seed=seed, options={"task": TASK})
    scene, target = world.scene, world.task.target
    at = scene.position(target)
    hands.hold(("ShiftLeft", "KeyR"), 0.2)
    now = hands.look()
    yaw = across(scene, target, now["yaw"])
    hands.lead_on("Space", "recording")
    hands.go(z=0.085, near=0.01)
    hands.go(x=float(at[0]), y=float(at[1]), yaw=float(yaw))
    hands.go(z=float(at[2]))
    hands.go(x=float(at[0]), y=float(at[1]), z=float(at[2]))
    hands.page.key("KeyG")
    time.sleep(1.2)
    hands.hold(("KeyR",), 1.2)
    time.sleep(0.5)
    hands.page.key("Space")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=Path("out/teleop_page"))
    folder: Path = options.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    with tempfile.TemporaryDirectory() as place:
        store = Path(place) / "store"
        with session(store, "--task", TASK, "--seed", str(SEED)) as url, browser() as new:
            found = drive(url, new(), folder)
            time.sleep(2)
        made = Store.open(store)
        found["episodes"] = len(made)
        found["success"] = [bool(episode.meta.success) for episode in made]
        found["rows"] = [len(episode) for episode in made]
    print(json.dumps(found, indent=2))
    met = found["success"] == [True] and found["judged_success"] and not found["errors"]
    record("teleop_page", found, met=met)


if __name__ == "__main__":
    main()
