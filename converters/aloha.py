"""ALOHA HDF5, one episode a file: ACT's raw files, act-plus-plus with JPEG, Mobile ALOHA. Layout: `aloha_layout`.

The JPEG files hold what `cv2.imencode` made of *RGB* arrays without turning them to BGR first: `cv2.imdecode`
gives the RGB array back, any other decoder red and blue swapped. A recorder that did turn them needs
`colour: bgr` in the mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.aloha_layout import BASE, BASE_UNITS, IMAGES, JOINTS, POSITION_UNITS, RATE, VELOCITY_UNITS
from converters.aloha_write import FRAME_TASKS, OWN, PLACES, own_facts, write_episodes
from converters.files import FileConverter, FileSketch, Proposal, Sketch, file_of
from converters.hdf5 import (
    SUFFIXES,
    Hdf5Clip,
    camera_of,
    camera_rule,
    column_of,
    datasets,
    encoded_camera,
    instruction,
    other_attributes,
    rate_of_clocks,
    read_attribute,
    read_columns,
    scale_assumption,
)
from converters.mapping import SourceMapping
from converters.raw import Camera, Column, RawEpisode
from dataengine.episode import CAPTURE_TIME, Episode
from dataengine.errors import SourceError
from dataengine.guard import open_hdf5, parse_json
from dataengine.source import Assumption, EpisodeRef, Plan

if TYPE_CHECKING:
    import h5py

_PER_FRAME = ("action", "base_action", "observations/")
# What labs call the capture times, which they add to the layout.
_CLOCKS = ("timestamp", "timestamps", "time")


class Aloha(FileConverter):
    """ALOHA recordings, simulated and real."""

    name = "aloha"
    reads = "HDF5 of ACT, act-plus-plus and Mobile ALOHA, raw and JPEG"
    suffixes = SUFFIXES

    def sniff_file(self, path: Path) -> bool:
        import h5py

        with open_hdf5(path) as file:
            observations = file.get("observations")
            return isinstance(file.get("action"), h5py.Dataset) and isinstance(observations, h5py.Group)

    def sketch(self, path: Path) -> FileSketch:
        with open_hdf5(path) as file:
            return _sketch(path, file)

    def propose(
        self, files: Mapping[str, FileSketch], columns: Mapping[str, Column], cameras: Mapping[str, Camera]
    ) -> Proposal:
        facts = [file.facts for file in files.values()]
        own = facts[0]["own"]
        assumed = []
        rate = own.get("fps", RATE)
        clock = None if own else facts[0]["clock"]
        if clock is not None:
            rate = facts[0]["rate"]
            assumed.append(Assumption("fps", rate, f"no file says the rate; {clock} goes on by 1/fps [s] a row"))
        elif "fps" not in own:
            why = "no file says the rate; ALOHA's recorders run at 50 Hz (DT = 0.02 s)"
            assumed.append(Assumption("fps", RATE, why))
        if not all(f["tasks"] for f in facts):
            why = "no file holds an instruction; an empty one stands for it, give one as `task`"
            assumed.append(Assumption("task", None, why))
        sim = {f["sim"] for f in facts}
        robot = {(False,): "aloha", (True,): "aloha_sim"}.get(tuple(sim)) if columns["action"].size == 14 else None
        if robot and "embodiment" not in own:
            assumed.append(Assumption("embodiment", robot, "no file names the robot; layout and 14 joints are ALOHA's"))
        rules = {}
        for name in cameras:
            rule = dict(facts[0]["cameras"].get(name, {"from": name}))
            key = _camera_key(name, cameras[name])
            rules[key] = rule
            if not own:
                assumed += scale_assumption(key, rule)
            if name in facts[0]["encoded"] and not own:
                why = "JPEG of RGB arrays as ALOHA's recorders write it; cv2.imdecode gives RGB back, see one picture"
                assumed.append(Assumption(f"cameras/{key}/colour", "rgb", why))
        mapping = {
            "fps": rate, "embodiment": own.get("embodiment") if own else robot, "task": None,
            "licence": own.get("licence"), "features": _features(columns, own.get("features", {}), clock),
            "cameras": rules,
        }  # fmt: skip
        joined = "base_action" in columns
        notes = ("base_action follows the arms in one action, as Mobile ALOHA trains it",) if joined else ()
        return Proposal(mapping, tuple(assumed), notes)

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        rules = SourceMapping.from_dict(plan.mapping)
        path = file_of(plan, ref)
        with open_hdf5(path) as file:
            own = _own(path, file)
            wanted = rules.columns() | ({FRAME_TASKS} if len(ref.tasks) > 1 else set())
            columns = read_columns(path, file, wanted, ref.length, ref.name)
            clips = {}
            for rule in rules.cameras.values():
                dataset = file[rule.source]
                packed = encoded_camera(rule.source, dataset, path)
                camera = packed or camera_of(rule.source, dataset)
                if camera is None:
                    raise SourceError(path.name, f"{rule.source} holds no pictures")
                clips[rule.source] = Hdf5Clip.of(path, dataset, camera, plan, ref, encoded=packed is not None)
            extra = {name: bool(file.attrs[name]) for name in ("sim", "compress") if name in file.attrs}
        return RawEpisode(
            columns,
            clips,
            tasks=ref.tasks,
            frame_tasks=columns.get(FRAME_TASKS),
            success=own.get("success"),
            extra=extra | ({"written_from": own["id"]} if "id" in own else {}),
        )

    def write(self, episodes: Iterator[Episode], target: Path, *, jpeg_quality: int | None = None) -> list[Path]:
        """One `episode_N.hdf5` an episode that ACT reads; see `aloha_write.write_episodes`."""
        return write_episodes(episodes, target, jpeg_quality=jpeg_quality)


def _sketch(path: Path, file: h5py.File) -> FileSketch:
    length = len(file["action"])
    columns: dict[str, Column] = {}
    cameras: dict[str, Camera] = {}
    rules: dict[str, Any] = {}
    encoded: list[str] = []
    unused: list[str] = []
    faults: list[str] = []
    size = 0
    for name, dataset in datasets(file).items():
        if name == "compress_len" or "derived" in dataset.attrs:
            continue
        if (dataset.shape[:1] or (0,)) != (length,):
            if name.startswith(_PER_FRAME):
                faults.append(f"{name} has {len(dataset) if dataset.shape else 0} rows, action {length}")
            else:
                unused.append(f"{name} (not one row per frame)")
            continue
        size += dataset.id.get_storage_size()
        if name.startswith("observations/images") and (camera := encoded_camera(name, dataset, path)) is not None:
            cameras[name] = camera
            rules[name] = {"from": name, "kind": "rgb", "flip": "none", "colour": "rgb"}
            encoded.append(name)
        elif name.startswith("observations/") and (camera := camera_of(name, dataset)) is not None:
            cameras[name] = camera
            rules[name] = camera_rule(name, dataset) if length else {"from": name}
        elif (column := column_of(name, dataset)) is not None and dataset.ndim <= 2:
            columns[name] = column
        else:
            unused.append(f"{name} ({dataset.dtype}, {dataset.shape[1:]} per frame, is no column)")
    if length == 0:
        faults.append("has no rows")
    unused += other_attributes(file, ("sim", "compress", OWN))
    own = _own(path, file)
    tasks, told = own.get("tasks", ()), instruction(path, file)
    if not tasks and told is not None:
        tasks, unused = (told[1],), [u for u in unused if not u.startswith(f"{told[0]} (")]
    ref = EpisodeRef(path.stem, length, size, tasks, "; ".join(faults) or None, {"place": ""})
    sim = bool(file.attrs["sim"]) if "sim" in file.attrs else None
    clock, rate = _clock(file, columns)
    facts = {"sim": sim, "clock": clock, "rate": rate, "cameras": rules, "encoded": encoded, "own": own, "tasks": tasks}
    return FileSketch((Sketch(ref, columns, cameras),), facts, tuple(unused))


def _clock(file: h5py.File, columns: Mapping[str, Column]) -> tuple[str | None, float | None]:
    """A column of capture times in [s] that a lab added, and the rate it shows."""
    for name, column in columns.items():
        if name.rsplit("/", 1)[-1] in _CLOCKS and column.dtype == "float64" and column.size == 1:
            rate = rate_of_clocks([file[name][: 1 << 16].reshape(-1)])
            if rate is not None and 1 <= rate <= 1000:
                return name, rate
    return None, None


def _camera_key(name: str, camera: Camera) -> str:
    """`observation.images.<camera>`; the depth of a camera, which labs keep under `images_depth`, beside it."""
    bare = name.removeprefix(IMAGES).removeprefix("observations/images_depth/").replace("/", ".")
    depth = camera.kind == "depth" and "depth" not in bare.lower()
    return f"observation.images.{bare}" + ("_depth" if depth else "")


def _own(path: Path, file: h5py.File) -> dict[str, Any]:
    """What `aloha_write` noted in the file, {} for anybody else's."""
    text = read_attribute(path, file, OWN)
    try:
        described = parse_json(text, f"{path.name}: attribute {OWN}") if text else {}
    except SourceError:
        return {}
    return own_facts(described) if isinstance(described, dict) else {}


def _features(columns: Mapping[str, Column], own: Mapping[str, Any], clock: str | None) -> dict[str, Any]:
    """The features of a robot's file, named where the layout is ALOHA's or the file itself says the names.

    clock: the column of capture times [s].
    """
    features: dict[str, Any] = {}
    if "observations/qpos" in columns:
        features["observation.state"] = {"from": [_joints(columns["observations/qpos"], POSITION_UNITS)]}
    if "observations/qvel" in columns:
        features["observation.velocity"] = {"from": [_joints(columns["observations/qvel"], VELOCITY_UNITS)]}
    if "observations/effort" in columns:
        features["observation.effort"] = {"from": [_joints(columns["observations/effort"], None)]}
    action = [_joints(columns["action"], POSITION_UNITS)]
    if "base_action" in columns:
        base: dict[str, Any] = {"column": "base_action"}
        if columns["base_action"].size == len(BASE):
            base |= {"names": list(BASE), "unit": list(BASE_UNITS)}
        action.append(base)
    features["action"] = {"from": action, "control": "absolute"}
    taken = {*PLACES.values(), "base_action", FRAME_TASKS}
    for name in (n for n in columns if n not in taken):
        # What a lab added to its files is no input unless the mapping makes it one.
        own_key = name.removeprefix(f"{OWN}/")
        key = own_key if own_key in own and name != own_key else "collect." + name.replace("/", ".")
        if name == clock:
            features[CAPTURE_TIME] = {"from": [{"column": name, "unit": "s"}], "dtype": "float64"}
        else:
            features[key if key != CAPTURE_TIME else f"{CAPTURE_TIME}_as_stored"] = {"from": [name]}
    for key in features.keys() & own.keys():
        features[key].pop("control", None)  # stands in the info of a file of ours
        features[key] |= {k: own[key][k] for k in ("dtype", "names", "role", "unit", "info") if k in own[key]}
    return features


def _joints(column: Column, units: tuple[str, ...] | None) -> dict[str, Any]:
    """Two arms of seven or one; other robots in this layout keep numbers for names and say no unit."""
    part: dict[str, Any] = {"column": column.name}
    names = {14: JOINTS, 7: tuple(j.removeprefix("left_") for j in JOINTS[:7])}.get(column.size)
    if names is not None:
        part["names"] = list(names)
        if units is not None:
            part["unit"] = list(np.resize(units, column.size).tolist())
    return part
