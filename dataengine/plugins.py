"""The protocols of all parts, and finding a part by name.

Every part is an entry point in a group `dataengine.<kind>`; built-in parts are declared in pyproject.toml
exactly like a third party's. A part's parameters are its dataclass fields, checked where they come in.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from dataengine.episode import Episode, Label
from dataengine.errors import ConfigError
from dataengine.source import EpisodeRef, Plan

_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # YAML 1.1 takes 1e-3 for text

Kind = Literal[
    "converters",
    "collectors",
    "annotators",
    "stages",
    "jobs",
    "worlds",
    "policies",
    "tokenizers",
    "robots",
    "devices",
    "hand_trackers",
    "face_detectors",
]


@dataclass(frozen=True)
class Drop:
    """A stage's verdict that an episode does not go on. evidence: JSON-able figures and places."""

    episode_id: str
    reason: str
    evidence: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@runtime_checkable
class Converter(Protocol):
    """A foreign format. `sniff` decides by content and never raises; the rest raise `SourceError`."""

    name: str

    def sniff(self, path: Path) -> bool: ...
    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None) -> Plan: ...
    def read(self, plan: Plan, ref: EpisodeRef) -> Episode: ...


@runtime_checkable
class Annotator(Protocol):
    """One kind of label: a pure function of one episode."""

    name: str
    version: str

    def annotate(self, episode: Episode) -> Mapping[str, Label]: ...


@runtime_checkable
class Stage(Protocol):
    """A thing done to episodes: one to one, one to many, or filter.

    reads: feature keys, `label:<name>`, `clips`, or `*`; a result is reused while these are unchanged.
    content, if there is one: what beside its parameters and their files results are made of, such as files that those
    name; a hash. A stage that must see all episodes first also has `observe(episode) -> summary` (small, JSON-able) and
    `fit(summaries) -> artifact` (JSON-able), and takes the artifact as its field `artifact`.
    """

    name: str
    version: str
    reads: tuple[str, ...]

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]: ...


@runtime_checkable
class Job(Protocol):
    """What is done with a finished store: tokenizer, publish, train. Gives a JSON-able report; its `page`, below the
    flow's folder, is told to who ran the flow. It is run again where the store or its parameters changed, or what
    `also(store)` says, if it has that: JSON-able, what else the report is made of."""

    name: str
    version: str

    def run(self, store: Path, out: Path) -> Mapping[str, Any]: ...


@runtime_checkable
class Policy(Protocol):
    """Observation in, action chunk out. Observations are keyed like features; pictures `(H, W, 3)` uint8."""

    def reset(self) -> None: ...
    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        """The next actions, `(n, A)` float32, in the world's own action space; the caller runs all n."""
        ...


@dataclass(frozen=True)
class Explained:
    """One decision of a policy, and where it came from; what the policy cannot say is None.

    actions: `(n, A)` float32, as `act` gives. log_prob: natural logarithm of the probability (tokens) or density
    (noise) of everything that was drawn for this decision. parts: its summands `(k,)` float64: of each action,
    denoising step or token. noise: what was drawn from the standard normal first, float32. path: what it became,
    denoising step by step, `(steps, …)` float32. tokens: what was said. features: `(F,)` float32, the policy's own view
    of the situation.
    """

    actions: np.ndarray
    log_prob: float | None = None
    parts: np.ndarray | None = None
    noise: np.ndarray | None = None
    path: np.ndarray | None = None
    tokens: tuple[int, ...] | None = None
    features: np.ndarray | None = None


@runtime_checkable
class Explaining(Policy, Protocol):
    """A policy that can explore and say how likely what it did was; every decision has the same shapes."""

    def begin(self, seed: int, noise: float = 0.0) -> None:
        """Start an episode whose randomness is the seed's. noise: how much to explore, 0 for as it was trained; what
        it measures is the policy's own affair. Raises `ConfigError` where it cannot."""
        ...

    def act_explained(self, observation: Mapping[str, np.ndarray], instruction: str) -> Explained:
        """Like `act`."""
        ...


@dataclass(frozen=True)
class Sighting:
    """A hand that a tracker found in a picture.

    pixels: `(21, 2)` landmarks as `dataengine.hands` numbers them, x to the right and y down from the middle of the
    first pixel. world: `(21, 3)` about the hand's middle in m, axes as the camera's, as far as one picture tells.
    right: is it a right hand. score: how sure that is, 0 to 1.
    """

    pixels: np.ndarray
    world: np.ndarray
    right: bool
    score: float


@runtime_checkable
class HandTracker(Protocol):
    """Finds hands in the pictures of one video, in order; `version` says which model, and is part of what it found."""

    version: str

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        """What is seen in each picture `(H, W, 3)` uint8 RGB, as fast as they come."""
        ...


@runtime_checkable
class FaceDetector(Protocol):
    """Finds faces in single pictures; `version` says which model and how it was set, and is part of what it found."""

    version: str

    def find(self, picture: np.ndarray) -> np.ndarray:
        """`(n, 5)` float: left, top, right and bottom edge [px] of every face in a picture `(H, W, 3)` uint8 RGB, whose
        own edges are at 0, W and H; and how sure it is, on a scale of the detector's own, higher is surer."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Action chunks `(T, A)` to lists of integers and back."""

    def encode(self, chunks: np.ndarray) -> list[list[int]]: ...
    def decode(self, tokens: list[list[int]]) -> np.ndarray: ...


def parts(kind: Kind) -> dict[str, EntryPoint]:
    """Every installed part of a kind, by name, not yet imported."""
    return {point.name: point for point in sorted(entry_points(group=f"dataengine.{kind}"), key=lambda p: p.name)}


def load(kind: Kind, name: str) -> Any:
    """The part's class or function; `ConfigError` lists what exists."""
    found = parts(kind)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        raise ConfigError(
            f"there is no {kind[:-1]} {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + f" Known: {', '.join(found) or 'none'}"
        )
    return found[name].load()


def make(kind: Kind, name: str, params: Mapping[str, Any] | None = None) -> Any:
    """A part with its parameters checked against its dataclass fields."""
    part = load(kind, name)
    params = dict(params or {})
    if not dataclasses.is_dataclass(part):
        if params:
            raise ConfigError(f"{kind[:-1]} {name!r} takes no parameters, got {', '.join(params)}")
        return part()
    return build(part, params, f"{kind[:-1]} {name!r}", name)


def build(part: Any, params: Mapping[str, Any], who: str, where: str) -> Any:
    """A dataclass of parameters as `checked` wants them, none lacking."""
    given = checked(part, params, who, where)
    needed = [f for f in dataclasses.fields(part) if f.init and f.default is f.default_factory is dataclasses.MISSING]
    if absent := [f.name for f in needed if f.name not in given]:
        raise ConfigError(f"{who} needs {', '.join(absent)}")
    return typing.cast(type, part)(**given)


def checked(part: Any, params: Mapping[str, Any], who: str, where: str) -> dict[str, Any]:
    """Parameters as the fields of the dataclass `part` want them. Raises `ConfigError` that says who or where."""
    fields = [f.name for f in dataclasses.fields(part) if f.init]
    hints = typing.get_type_hints(part)
    for key in params:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            raise ConfigError(
                f"{who} has no parameter {key!r}"
                + (f"; did you mean {near[0]!r}?" if near else ".")
                + f" It takes: {', '.join(fields) or 'none'}"
            )
    return {key: _fit(value, hints[key], f"{where}.{key}") for key, value in params.items()}


def params_of(part: Any) -> dict[str, Any]:
    """The parameters a part was made with, JSON-able, for fingerprints and lineage."""
    if not dataclasses.is_dataclass(part) or inspect.isclass(part):
        return {}
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}


def _fit(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type hint wants it, where YAML and the command line are looser (lists, ints, paths)."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        for arm in (a for a in args if a is not type(None)):
            try:
                return _fit(value, arm, where)
            except ConfigError:
                continue
        raise ConfigError(f"{where}: {value!r} is none of {hint}")
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if origin in (tuple, list) or (isinstance(origin, type) and issubclass(origin, Iterable) and origin is not dict):
        if isinstance(value, Mapping) and isinstance(origin, type) and issubclass(origin, Mapping):
            return value
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ConfigError(f"{where}: expected a list, got {value!r}")
        inner = args[0] if args else Any
        items = [_fit(v, inner, where) for v in value]
        return tuple(items) if origin is tuple else items
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, got {value!r}")
        return value
    if hint is Path and isinstance(value, str | Path):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
