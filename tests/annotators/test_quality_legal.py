"""What is unusual and legal raises no objective finding: rests, short episodes, quanta, wraps, the dark, odd rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from motion_made import made_set

from annotators.quality import assess, learn, measure
from annotators.quality.grade import objective
from dataengine.episode import CAPTURE_TIME, ArrayClip, Episode

STATE = "observation.state"
Change = Callable[[int, Episode], Episode]


@cache
def clean(count: int = 10) -> list[Episode]:
    """More episodes than `dead_sensor` needs as witnesses."""
    return made_set(count)


@cache
def bare() -> list[Episode]:
    return [e.select([STATE, "action"]) for e in clean()]


def alarms(episodes: list[Episode]) -> list[str]:
    reference = learn([measure(e) for e in episodes])
    return [f"{n}: {f.check}: {f.reason}" for n, e in enumerate(episodes) for f in objective(assess(e, reference))]


def columns(episode: Episode, **values: np.ndarray) -> Episode:
    """Other state or action values of any width and type."""
    frames, features = dict(episode.frames), dict(episode.features)
    for name, value in values.items():
        key = STATE if name == "state" else name
        frames[key], features[key] = value, replace(features[key], shape=(value.shape[1],), names=None, unit=None)
        features[key] = replace(features[key], dtype=str(value.dtype))
    return replace(episode, frames=frames, features=features)


def both(episode: Episode, change: Callable[[np.ndarray], np.ndarray]) -> Episode:
    return columns(episode, state=change(episode.frames[STATE]), action=change(episode.frames["action"]))


def rows(episode: Episode, at: np.ndarray, rate: float = 1.0) -> Episode:
    return replace(episode, fps=episode.fps * rate, frames={k: v[at] for k, v in episode.frames.items()})


def gripper(episode: Episode, closed: np.ndarray) -> Episode:
    """A gripper that is open or closed, and follows two frames later."""
    state, action = episode.frames[STATE].copy(), episode.frames["action"].copy()
    action[:, 4], state[:, 4] = closed, np.roll(closed, 2)
    state[:2, 4] = closed[0]
    return columns(episode, state=state, action=action)


def taps(episode: Episode) -> Episode:
    """Commands that stay for half a second and then change; the state is there in the next frame, to the last bit."""
    action = episode.frames["action"][np.arange(episode.length) // 15 * 15]
    return columns(episode, state=np.concatenate([action[:1], action[:-1]]), action=action)


def pictures(episode: Episode, change: Callable[[np.ndarray], np.ndarray]) -> Episode:
    clips = {k: ArrayClip(change(np.stack(list(c.frames()))), c.fps) for k, c in episode.clips.items()}
    return replace(episode, clips=clips)


def wrapped(episode: Episode, turn: float) -> Episode:
    """Angles that pass the end of their range, in state and command."""
    return both(episode, lambda a: ((a.astype(float) * 0.6 * turn + turn / 2) % turn - turn / 2).astype(a.dtype))


PLAIN: dict[str, Change] = {
    "a command that never moves": lambda n, e: e.map("action", lambda a: a * np.float32([1, 1, 0, 1, 1])),
    "commands that never move": lambda n, e: e.map("action", np.zeros_like),
    "padding": lambda n, e: both(e, lambda a: np.pad(a, ((0, 0), (0, 3)))),
    "a long rest": lambda n, e: rows(e, np.concatenate([np.arange(60), np.full(200, 60), np.arange(60, e.length)])),
    "one rests in the middle": lambda n, e: PLAIN["a long rest"](n, e) if n == 0 else e,
    "one never moves": lambda n, e: rows(e, np.zeros(e.length, int)) if n == 0 else e,
    "nobody moves": lambda n, e: rows(e, np.zeros(e.length, int)),
    "5 Hz": lambda n, e: rows(e, np.arange(0, e.length, 6), 1 / 6),
    "200 Hz, values held": lambda n, e: rows(e, np.arange(e.length).repeat(7), 7),
    "ticks": lambda n, e: both(e, lambda a: np.round(a * 100).astype(np.float32)),
    "coarse ticks": lambda n, e: both(e, lambda a: np.round(a * 10).astype(np.float32)),
    "integers": lambda n, e: both(e, lambda a: np.round(a * 100).astype(np.int64)),
    "a gripper that is open or closed": lambda n, e: gripper(e, np.arange(e.length) > 50),
    "a gripper that closes in one episode": lambda n, e: gripper(e, (np.arange(e.length) > 50) & (n == 0)),
    "commands of three values": lambda n, e: e.map("action", lambda a: np.round(a * 1.4).astype(a.dtype)),
    "radians that wrap": lambda n, e: wrapped(e, 2 * np.pi),
    "degrees that wrap": lambda n, e: wrapped(e, 360.0),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_unusual_motion_is_no_fault(name: str):
    assert alarms([PLAIN[name](n, e) for n, e in enumerate(bare())]) == []


def test_a_command_that_ends_a_rest_hides_no_motion():
    found = alarms([taps(e) if n == 0 else e for n, e in enumerate(bare())])
    assert [line for line in found if "frozen" in line] == []


@pytest.mark.parametrize("name", ["degrees that wrap", "radians that wrap"])
def test_one_episode_in_which_an_angle_wraps_is_no_fault(name: str):
    turn = 360.0 if name.startswith("degrees") else 2 * np.pi

    def turned(n: int, e: Episode) -> Episode:
        state = e.frames[STATE].copy()
        angle = 0.45 * turn + (0.15 if n == 0 else 0.01) * turn * np.linspace(0, 1, e.length)
        state[:, 1] = (angle + turn / 2) % turn - turn / 2
        return columns(e, state=state)

    assert alarms([turned(n, e) for n, e in enumerate(bare())]) == []


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("among", ["short ones", "long ones", "shorter ones"])
def test_very_short_episodes_are_no_fault(frames: int, among: str):
    first = clean()[0].slice(10, 10 + frames)
    others = {
        "short ones": [e.slice(10, 10 + frames) for e in clean()[1:]],
        "long ones": clean()[1:],
        "shorter ones": [e.slice(10, 11 + n % frames) for n, e in enumerate(clean()[1:])],
    }[among]
    assert alarms([first, *others]) == []


def test_dark_scenes_and_still_views_are_no_fault():
    assert alarms([pictures(e, lambda p: p // 32) for e in clean(4)]) == []
    assert alarms([pictures(e, lambda p: p[:1].repeat(len(p), 0)) for e in clean(4)]) == []


@pytest.mark.parametrize("colour", [(0, 135, 0), (0, 0, 255), (0, 0, 0), (128, 128, 128)])
def test_one_colour_is_no_picture(colour: tuple[int, int, int]):
    """Green is what a decoder makes of nothing, blue what a grabber without a signal shows."""

    def blank(p: np.ndarray) -> np.ndarray:
        p = p.copy()
        p[20:30] = colour
        return p

    found = alarms([pictures(clean()[0], blank), *clean()[1:4]])
    assert [f for f in found if "blank_picture" in f and "10 pictures" in f], found


def test_noise_in_black_is_no_picture():
    noise = np.random.default_rng(0).integers(0, 4, (200, 36, 48, 3)).astype(np.uint8)
    found = alarms([pictures(clean()[0], lambda p: noise[: len(p)]), *clean()[1:4]])
    assert [f for f in found if "blank_picture" in f], found


def test_a_dead_sensor_that_jumps_is_as_dead():
    def stuck(e: Episode) -> Episode:
        state = e.frames[STATE].copy()
        state[:, 1] = state[0, 1]
        state[60, 1] += 0.5
        return columns(e, state=state)

    found = alarms([stuck(bare()[0]), *bare()[1:]])
    assert [f for f in found if "dead_sensor" in f], found


def test_noise_on_a_gripper_that_is_open_or_closed_is_found():
    episodes = [gripper(e, np.arange(e.length) > 50) for e in bare()]
    noisy = episodes[0].frames[STATE].copy()
    noisy[60:100, 4] += np.random.default_rng(0).normal(0, 0.1, 40).astype(np.float32)
    found = alarms([columns(episodes[0], state=noisy), *episodes[1:]])
    assert [f for f in found if "noise" in f], found


def unnamed(episode: Episode) -> Episode:
    """Commands of other width than the state, so that no command is known to belong to a sensor."""
    return columns(episode, state=episode.frames[STATE], action=episode.frames["action"][:, :3])


def still(episode: Episode) -> Episode:
    state = episode.frames[STATE].copy()
    state[:, 1] = state[0, 1]
    return columns(episode, state=state)


@pytest.mark.parametrize(("others", "dead"), [(9, True), (6, False)])
def test_a_sensor_without_a_command_is_dead_by_many_witnesses(others: int, dead: bool):
    episodes = [unnamed(e) for e in bare()[: others + 1]]
    assert bool([f for f in alarms([still(episodes[0]), *episodes[1:]]) if "dead_sensor" in f]) == dead


def test_a_velocity_may_change_at_once():
    def with_step(e: Episode, name: str) -> Episode:
        state = e.frames[STATE].copy()
        state[60:, 1] += 2
        names = tuple(name if at == 1 else f"s{at}" for at in range(5))
        changed = columns(e, state=state)
        return replace(changed, features={**changed.features, STATE: replace(changed.features[STATE], names=names)})

    def found(name: str) -> bool:
        rest = [with_step(e, name).map(STATE, lambda _, e=e: e.frames[STATE]) for e in bare()[1:]]
        return any("jump" in f for f in alarms([with_step(bare()[0], name), *rest]))

    assert found("elbow") and not found("elbow_vel")


def test_a_rate_that_is_not_the_stated_one_and_time_that_runs_backwards():
    slow = replace(clean()[0], fps=20.0)
    assert [f for f in alarms([slow, *clean()[1:4]]) if "rate: frames come at 30 Hz, the data set says 20 Hz" in f]
    times = clean()[1].frames[CAPTURE_TIME].copy()
    times[30] = times[27]
    back = clean()[1].map(CAPTURE_TIME, lambda _: times)
    assert [f for f in alarms([clean()[0], back, *clean()[2:4]]) if "doubled_time: time runs backwards" in f]


def test_a_rounded_copy_is_a_copy():
    twin = replace(both(bare()[0], lambda a: np.round(a, 6).astype(np.float64)), id="twin")
    assert [f for f in alarms([*bare()[:4], twin]) if f.startswith("4: duplicate: equals")]


def test_cameras_that_look_alike_are_not_told_apart():
    def same(e: Episode) -> Episode:
        first = e.clips["observation.images.front"]
        return replace(e, clips=dict.fromkeys(e.clips, first))

    alike = [same(e) for e in clean(4)]
    reference = learn([measure(e) for e in alike])
    assert "look alike" in str(assess(alike[0], reference)["swapped_cameras"].unknown)
