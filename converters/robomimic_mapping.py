"""What becomes of a robomimic file's columns and cameras, and what has to be assumed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.files import Proposal
from converters.hdf5 import scale_assumption
from converters.raw import Camera, Column
from converters.robosuite_names import (
    action_rule,
    is_proprioception,
    object_part,
    observation_part,
    robot_states_part,
    state_order,
)
from dataengine.source import Assumption

_DEFAULT_RATE = 20.0
_EMBEDDINGS = ("lang_emb", "language_embedding")


def propose(
    facts: Sequence[Mapping[str, Any]], columns: Mapping[str, Column], cameras: Mapping[str, Camera]
) -> Proposal:
    """facts: of each file, as `robomimic.Robomimic.sketch` finds them."""
    notes: list[str] = []
    assumed: list[Assumption] = []
    first = facts[0]
    rate = _rate(facts, assumed, notes)
    mapping: dict[str, Any] = {
        "fps": rate,
        "embodiment": "+".join(first["robots"]) or None,
        "task": _task(facts, assumed),
        "licence": None,
        "features": _features(columns, first, all(f["even"] for f in facts), notes),
        "cameras": _cameras(cameras, first, assumed),
    }
    if any(n.startswith("action_dict/") for n in columns):
        notes.append("action_dict/* holds the actions once more in other forms; no feature takes it")
    return Proposal(mapping, tuple(assumed), tuple(notes))


def _rate(facts: Sequence[Mapping[str, Any]], assumed: list[Assumption], notes: list[str]) -> float:
    said = {float(f["rate"]) for f in facts if isinstance(f["rate"], int | float) and 0 < f["rate"] < 1e5}
    clocks = {f["clock"] for f in facts if f["clock"]}
    if len(said | clocks) > 1:
        notes.append(f"files and clocks say different rates: {', '.join(f'{r:g}' for r in sorted(said | clocks))} Hz")
    if said:
        return min(said)
    if clocks:
        rate = min(clocks)
        assumed.append(
            Assumption("fps", rate, "no file says the rate; simulation time, states[:, 0], goes on by 1/fps a row")
        )
        return float(rate)
    assumed.append(Assumption("fps", _DEFAULT_RATE, "no file says the rate; 20 Hz is robosuite's default"))
    return _DEFAULT_RATE


def _task(facts: Sequence[Mapping[str, Any]], assumed: list[Assumption]) -> str | None:
    """The task for all episodes; None where each file has its own instruction."""
    if all(f["instructed"] for f in facts):
        return None
    if any(f["told"] for f in facts):
        why = "some episodes have no instruction; the name of the environment, if there is one, stands for it"
        assumed.append(Assumption("task", None, why))
        return None
    names = {f["task"] for f in facts}
    if len(names) == 1 and (name := names.pop()):
        assumed.append(Assumption("task", name, "there is no instruction; the name of the environment stands for it"))
        return name
    why = "there is no instruction; the name of each file's environment stands for it"
    assumed.append(Assumption("task", None, why if any(names) else "there is no instruction and no environment name"))
    return None


def _features(columns: Mapping[str, Column], facts: Mapping[str, Any], even: bool, notes: list[str]) -> dict[str, Any]:
    observed = {name.removeprefix("obs/"): c for name, c in columns.items() if name.startswith("obs/")}
    robot = sorted((n for n in observed if is_proprioception(n)), key=state_order)
    apart = [n for n, c in observed.items() if n not in robot and (len(c.shape) > 1 or n.startswith(_EMBEDDINGS))]
    scene = [n for n in observed if n not in robot and n not in apart]
    features: dict[str, Any] = {}
    if robot:
        parts = [observation_part(observed[n], n.replace("/", "."), facts["robots"]) for n in robot]
        features["observation.state"] = {"from": parts}
    elif not observed:
        notes.append(
            "no observation of the robot: only what the simulator kept; robomimic's dataset_states_to_obs adds it"
        )
    else:
        notes.append("no observation is called as a robot's are; name those that are its own under observation.state")
    if scene:
        features["observation.environment_state"] = {
            "from": [
                object_part(observed[n], facts["name"]) if n == "object" else {"column": observed[n].name}
                for n in scene
            ]
        }
    for name in apart:  # masks and embeddings: kept, but no input of a policy unless the mapping makes it one
        features["collect." + name.replace("/", ".")] = {"from": [observed[name].name]}
    features["action"] = action_rule(columns["actions"], facts["environment"])
    if "rewards" in columns:
        features["next.reward"] = {"from": ["rewards"]}
    if "dones" in columns:
        features["next.done"] = {"from": ["dones"]}
    if "states" in columns:
        features["sim.state"] = {"from": ["states"]}
        if not even:
            clock = {"column": "states[0:1]", "unit": "s", "names": ["simulation_time"]}
            features["collect.timestamp"] = {"from": [clock], "dtype": "float64"}
            notes.append("simulation time is not even; it is kept as collect.timestamp")
    if "robot_states" in columns:
        features["sim.robot_state"] = {"from": [robot_states_part(columns["robot_states"])]}
    return features | _datagen(columns)


def _datagen(columns: Mapping[str, Column]) -> dict[str, Any]:
    """MimicGen: signals that a subtask has ended become labels, poses `collect.*`."""
    features: dict[str, Any] = {}
    signals = [n for n in columns if n.startswith("datagen_info/subtask_")]
    if signals:
        parts = [{"column": n, "names": [n.rsplit("/", 1)[-1]]} if columns[n].size == 1 else n for n in signals]
        features["label.subtask_signals"] = {"from": parts, "dtype": "float32"}
    for name in columns:
        if name.startswith("datagen_info/") and name not in signals:
            key = "collect." + name.replace("datagen_info/", "datagen.").replace("/", ".")
            features[key] = {"from": [name]}
    return features


def upside_down(facts: Mapping[str, Any]) -> bool:
    """Whether a file keeps pictures as OpenGL draws them, bottom row first; robomimic turns them before it writes."""
    return bool(facts["libero"] and facts["images"] != "opencv")


def _cameras(cameras: Mapping[str, Camera], facts: Mapping[str, Any], assumed: list[Assumption]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    turned = upside_down(facts)
    for name, camera in cameras.items():
        bare = name.removeprefix("obs/").replace("/", ".")
        for end in ("_image", "_rgb", "_depth"):
            bare = bare.removesuffix(end)
        key = f"observation.images.{bare}" + ("_depth" if camera.kind == "depth" else "")
        if key in found:
            key = f"observation.images.{name.removeprefix('obs/').replace('/', '.')}"
        rule = dict(facts["cameras"].get(name, {"from": name}))
        if rule.get("scale", 1.0) != 1.0 or camera.kind != "depth":  # robosuite's own depth is in metres
            assumed += scale_assumption(key, rule)
        if turned:
            rule["flip"] = "vertical"
            why = "LIBERO stores pictures as OpenGL draws them, bottom row first"
            if facts["images"]:
                why += f" (macros_image_convention is {facts['images']!r})"
            assumed.append(Assumption(f"cameras/{key}/flip", "vertical", why))
        found[key] = rule
    return found
