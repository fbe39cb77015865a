"""Make `traces/keyboard_pick.jsonl` again: `python tests/collectors/teleop/make_pick_trace.py`.

A scripted person looks at the embedded world (scene 3, "pick up the red cube") and presses the keys somebody at the
page would; what was pressed is written down thirty times a second and later replayed without looking.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from teleop_rig import MemoryRecorder, Rig, TurnedClock  # noqa: E402

from collectors.teleop.devices.keyboard import Keyboard  # noqa: E402
from collectors.teleop.messages import Input  # noqa: E402
from collectors.teleop.plan import Plan  # noqa: E402
from collectors.teleop.robots.world import WorldRobot  # noqa: E402

SEED, TASK, NEAR = 3, "pick_red", 0.006  # [m]


def keys_for(robot: WorldRobot, stage: str) -> tuple[str, set[str]]:
    """The next stage and the keys to hold, from where tool and cube are."""
    scene = robot.world.scene
    tool, cube = scene.tool, scene.position("red")
    gap = cube[:2] - tool[:2]
    turn = (scene.heading("red") - tool[3] + np.pi / 4) % (np.pi / 2) - np.pi / 4
    held = set()
    if stage == "over":
        held |= {"KeyW"} if gap[0] < -NEAR else {"KeyS"} if gap[0] > NEAR else set()
        held |= {"KeyA"} if gap[1] < -NEAR else {"KeyD"} if gap[1] > NEAR else set()
        held |= {"KeyQ"} if turn > 0.08 else {"KeyE"} if turn < -0.08 else set()
        if np.abs(gap).max() < 0.03:
            held |= {"ShiftLeft"} if held else set()
        return ("over", held) if held else ("down", set())
    if stage == "down":
        return ("down", {"KeyF"}) if tool[2] > cube[2] + 0.004 else ("close", {"KeyG"})
    if stage == "close":
        return ("close", set()) if scene.gripper > 0.6 else ("wait", set())
    if stage.startswith("wait"):
        return (stage + ".", set()) if len(stage) < 20 else ("up", set())
    return ("up", {"KeyR"})


def main() -> None:
    clock = TurnedClock()
    robot = WorldRobot(cameras=(), task=TASK)
    robot.now = clock.now
    made = Rig(robot, Keyboard(), Plan(tasks=(TASK,), seed=SEED), MemoryRecorder(), clock).run(0.3)
    made.order("start")
    begin, stage, lines = clock.now(), "over", []
    while clock.now() - begin < 30:
        stage, held = keys_for(robot, stage)
        given = {"source": "keyboard", "seq": len(lines), "sent": round(1000 * (clock.now() - begin), 1)}
        lines.append({"time": round(clock.now() - begin, 4), "type": "input", **given, "keys": sorted(held)})
        made.session.input(Input("keyboard", len(lines), given["sent"], keys=tuple(sorted(held))))  # type: ignore[arg-type]
        made.session.tick(made.metronome.wait())
        if robot.verdict()["success"]:
            break
    print(stage, clock.now() - begin, robot.verdict())
    about = {
        "about": "Somebody at the keyboard picks up the red cube of scene 3.",
        "recorded": "made by tests/collectors/teleop/make_pick_trace.py: a scripted person who looks at the world and "
        "presses keys, thirty states a second",
    }
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [about, *lines])
    (Path(__file__).parent / "traces" / "keyboard_pick.jsonl").write_text(text)


if __name__ == "__main__":
    main()
