"""HDF5 files of the robomimic family: robosuite's own, robomimic's, MimicGen's and LIBERO's.

    data                        attributes: env_args (JSON), or env and env_info; LIBERO: problem_info (JSON)
      demo_N                    attributes: num_samples, model_file (MJCF), camera_info (JSON)
        actions                 (T, A)
        states                  (T, S) flattened MuJoCo state: time [s], qpos, qvel
        rewards, dones          (T,) of the state *after* action t
        obs/<name>              (T, n) low-dimensional, (T, H, W, 3) uint8, (T, H, W, 1) depth [m]
        next_obs/<name>         the same one row later
        datagen_info/…          MimicGen: poses and signals the generator worked with
    mask/<split>                names of demos

robomimic's docs, "Dataset structure"; LIBERO's `create_dataset.py`; MimicGen's `generate_dataset.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.files import FileConverter, FileSketch, Proposal, Sketch, file_of, natural
from converters.hdf5 import (
    SUFFIXES,
    Hdf5Clip,
    camera_of,
    camera_rule,
    column_of,
    datasets,
    instruction,
    other_attributes,
    rate_of_clocks,
    read_attribute,
    read_columns,
)
from converters.mapping import SourceMapping
from converters.raw import Camera, Column, RawEpisode
from converters.robomimic_mapping import propose, upside_down
from converters.scrub import scrub, scrub_text
from dataengine.errors import DataEngineError, SourceError
from dataengine.guard import open_hdf5, parse_json
from dataengine.source import EpisodeRef, Plan

if TYPE_CHECKING:
    import h5py

# What has a row per frame by definition; other datasets are columns only if they happen to have as many rows.
_PER_FRAME = ("actions", "states", "rewards", "dones", "robot_states", "obs/", "action_dict/", "datagen_info/")
# MimicGen notes per demo which source demos it was made from; these are facts, not columns.
_PER_DEMO = ("src_demo_inds", "src_demo_labels", "initial_state")
_DEMO_ATTRIBUTES = ("num_samples", "model_file", "camera_info")
_CLOCK_DEMOS = 16
_DESCRIPTIONS = ("env_args", "env_info", "problem_info")


class Robomimic(FileConverter):
    """robosuite, robomimic, MimicGen and LIBERO demonstrations."""

    name = "robomimic"
    reads = "HDF5 of robomimic, robosuite, MimicGen and LIBERO"
    suffixes = SUFFIXES
    # Scenes of one suite differ in their number of objects, and so in what the simulator's state holds.
    optional = ("states", "datagen_info/", "action_dict/", "obs/object")

    def sniff_file(self, path: Path) -> bool:
        import h5py

        with open_hdf5(path) as file:
            data = file.get("data")
            return isinstance(data, h5py.Group) and any(
                isinstance(data.get(name), h5py.Group) and isinstance(data[name].get("actions"), h5py.Dataset)
                for name in sorted(data, key=natural)[:50]
            )

    def sketch(self, path: Path) -> FileSketch:
        with open_hdf5(path) as file:
            data = file["data"]
            facts = _facts(path, data)
            splits, notes = _splits(file, data)
            rules: dict[str, Any] = {}
            unused: list[str] = []
            found = [
                _demo(path, name, data[name], facts, splits.get(name), rules, unused)
                for name in sorted(data, key=natural)
            ]
            if any("next_obs" in demo for demo in data.values()):
                unused.append("next_obs/* (obs one row later; only its last row stands nowhere else)")
            told = [demo.ref.tasks not in ((), (facts["task"],)) for demo in found]
            facts |= {"told": any(told), "instructed": facts["instructed"] or all(told)}
            return FileSketch(
                tuple(found),
                facts | _clock(data) | {"cameras": rules},
                tuple(dict.fromkeys(unused)),
                (*facts["damaged"], *notes),
            )

    def propose(
        self, files: Mapping[str, FileSketch], columns: Mapping[str, Column], cameras: Mapping[str, Camera]
    ) -> Proposal:
        lying = {name: upside_down(file.facts) for name, file in files.items()}
        if cameras and len(set(lying.values())) > 1:
            odd = next(name for name, turned in lying.items() if turned != next(iter(lying.values())))
            reason = "has its pictures the other way up than the files before it"
            raise SourceError(odd, reason, hint="convert LIBERO's files and others into a store each")
        return propose([file.facts for file in files.values()], columns, cameras)

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        rules = SourceMapping.from_dict(plan.mapping)
        path = file_of(plan, ref)
        place = str(ref.extra["place"])
        with open_hdf5(path) as file:
            demo = file["data"][place]
            columns = read_columns(path, demo, rules.columns(), ref.length, ref.name)
            clips = {}
            for rule in rules.cameras.values():
                dataset = demo[rule.source]
                camera = camera_of(rule.source, dataset)
                if camera is None:
                    raise SourceError(path.name, f"data/{place}/{rule.source} holds no pictures")
                clips[rule.source] = Hdf5Clip.of(path, dataset, camera, plan, ref)
            extra = _extra(path, file["data"], demo)
        return RawEpisode(columns, clips, tasks=ref.tasks, split=ref.extra.get("split"), extra=extra)


def _demo(
    path: Path,
    name: str,
    demo: Any,
    facts: Mapping[str, Any],
    split: str | None,
    rules: dict[str, Any],
    unused: list[str],
) -> Sketch:
    """One demo's headers. `rules` and `unused` are added to: how cameras lie, what is no column."""
    import h5py

    extra = {"place": name} | ({"split": split} if split else {})
    if not isinstance(demo, h5py.Group) or not isinstance(demo.get("actions"), h5py.Dataset):
        return Sketch(EpisodeRef(name, 0, problem="has no actions", extra=extra))
    told = instruction(path, demo)
    tasks = (told[1],) if told else (facts["task"],) if facts["task"] else ()
    unused += other_attributes(demo, _DEMO_ATTRIBUTES)
    length = len(demo["actions"])
    columns, cameras, faults, size = {}, {}, [], 0
    for key, dataset in datasets(demo).items():
        if key.startswith("next_obs/") or key in _PER_DEMO or (told is not None and key == told[0]):
            continue
        if (dataset.shape[:1] or (0,)) != (length,):
            if key.startswith(_PER_FRAME):
                faults.append(f"{key} has {len(dataset) if dataset.shape else 0} rows, actions {length}")
            else:
                unused.append(f"{key} (not one row per frame)")
            continue
        size += dataset.id.get_storage_size()
        if key.startswith("obs/") and (camera := camera_of(key, dataset)) is not None:
            cameras[key] = camera
            if key not in rules and length:
                rules[key] = camera_rule(key, dataset)
        elif (column := column_of(key, dataset)) is not None and dataset.ndim <= 3:
            columns[key] = column
        else:
            unused.append(f"{key} ({dataset.dtype}, {dataset.shape[1:]} per frame, is no column)")
    samples = demo.attrs.get("num_samples", length)
    if length == 0:
        faults.append("has no rows")
    elif samples != length:
        faults.append(f"says num_samples {samples} but has {length} actions")
    return Sketch(EpisodeRef(name, length, size, tasks, "; ".join(faults) or None, extra), columns, cameras)


def _facts(path: Path, data: h5py.Group) -> dict[str, Any]:
    """What the file says about its environment: name, arguments, robots, instruction, image convention."""
    arguments = _json(path, data, "env_args")
    nested = arguments.get("env_kwargs")
    environment = nested if isinstance(nested, dict) else _json(path, data, "env_info")
    problem = _json(path, data, "problem_info")
    texts = {n: read_attribute(path, data, n) for n in _DESCRIPTIONS}
    damaged = [n for n, text in texts.items() if text and text.strip() != "{}" and not _json(path, data, n)]
    name = arguments.get("env_name") or read_attribute(path, data, "env") or environment.get("env_name") or ""
    robots = environment.get("robots") or []
    instruction = problem.get("language_instruction")
    if isinstance(instruction, list):
        instruction = " ".join(str(word) for word in instruction)
    return {
        "environment": environment,
        "name": str(name),
        "robots": (robots,) if isinstance(robots, str) else tuple(str(r) for r in robots),
        "task": str(instruction).strip().strip('"') if instruction else str(name),
        "instructed": bool(instruction),
        # By what stands there, not by what can be read of it: pictures must not come out upside down unsaid.
        "libero": any(n in data.attrs for n in ("problem_info", "bddl_file_name")) or str(name).startswith("Libero_"),
        "damaged": tuple(f"attribute data.{n} is no JSON object: what it says is not known" for n in damaged),
        "images": read_attribute(path, data, "macros_image_convention"),
        "rate": environment.get("control_freq"),
    }


def _clock(data: h5py.Group) -> dict[str, Any]:
    """The rate that simulation time, `states[:, 0]`, shows in the first demos, and whether it is even.

    even: every row lies within 0.1 ms of k / rate.
    """
    worst = 0.0
    clocks = []
    for name in sorted(data, key=natural)[:_CLOCK_DEMOS]:
        states = data[name].get("states") if hasattr(data[name], "get") else None
        if states is not None and getattr(states, "ndim", 0) == 2 and len(states) > 1 and states.shape[1]:
            clocks.append(np.asarray(states[:, 0], np.float64))
    if (rate := rate_of_clocks(clocks)) is None:
        return {"clock": None, "even": True}
    for clock in clocks:
        worst = max(worst, float(np.abs(clock - clock[0] - np.arange(len(clock)) / rate).max()))
    return {"clock": rate, "even": worst <= 1e-4}


def _splits(file: h5py.File, data: h5py.Group) -> tuple[dict[str, str], list[str]]:
    """The split of each demo. A mask that overlaps train and valid is a filter, not a split, and is only noted."""
    import h5py

    masks = file.get("mask")
    found: dict[str, str] = {}
    notes: list[str] = []
    if not isinstance(masks, h5py.Group):
        return found, notes
    for mask in sorted(masks):
        names = masks[mask]
        if not isinstance(names, h5py.Dataset) or names.ndim != 1 or names.dtype.kind not in "SO" or len(names) > 10**6:
            continue
        demos = [n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names[()]]
        absent = [d for d in demos if d not in data]
        if absent:
            notes.append(f"mask/{mask} names {len(absent)} demos that are not in the file ({', '.join(absent[:3])}, …)")
        if mask in ("train", "valid", "val", "test"):
            found |= {demo: mask for demo in demos if demo in data}
        else:
            notes.append(f"mask/{mask} is a filter over {len(demos)} demos, kept in no column")
    return found, notes


def _extra(path: Path, data: h5py.Group, demo: h5py.Group) -> dict[str, Any]:
    """Facts about one demo, absolute paths made relative: camera parameters, environment, model, MimicGen's sources."""
    extra: dict[str, Any] = {}
    for item, name in ((data, "env_args"), (data, "env_info"), (data, "problem_info"), (demo, "camera_info")):
        if content := _json(path, item, name):
            extra[name] = scrub(content)
    for item, name in ((data, "env_version"), (data, "repository_version"), (data, "bddl_file_name")):
        if text := read_attribute(path, item, name):
            extra[name] = scrub(text)
    if model := read_attribute(path, demo, "model_file"):
        extra["model_file"] = scrub_text(model)
    for name in _PER_DEMO:
        if name in demo and getattr(demo[name], "size", 1 << 20) <= 10_000:
            values = demo[name][()]
            listed = np.asarray(values).tolist()
            extra[name] = scrub(_texts(listed))
    return extra


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(v) for v in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _json(path: Path, item: Any, name: str) -> dict[str, Any]:
    """A JSON attribute that holds an object; {} when it is absent or something else."""
    text = read_attribute(path, item, name)
    if not text:
        return {}
    try:
        content = parse_json(text, f"{path.name}: attribute {name}")
    except DataEngineError:
        return {}
    return content if isinstance(content, dict) else {}
