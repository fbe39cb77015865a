"""Labels beside the table, as columns of frames: what readers give of side tables.

Numbers follow `labels.columns`; text is spread the same way, and "" where nothing was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature, Label
from dataengine.errors import ConfigError, EpisodeError
from dataengine.store import labels
from dataengine.store.store import Store

_NOTHING = {"bool": False, "string": ""}  # and 0 or -1 for whole numbers; floats have no value for it


@dataclass(frozen=True)
class Joined:
    """Which labels are read. asked: label and column (None: all of them) by what was asked for. features: what each
    key of an item is.
    """

    asked: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    features: dict[str, Feature] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, asked: Sequence[str], episodes: Sequence[int]) -> Joined:
        """Labels by name, or one column of a label by `name.column`. Raises `ConfigError` for what there is not, or
        for none of these episodes.
        """
        names = store.label_names() if asked else []
        joined = cls({one: (one, None) if one in names else _split(store, one, names) for one in asked})
        for one, (name, _) in joined.asked.items():
            for index in episodes:
                if found := joined._of_episode(store, index, one):
                    joined.features.update({key: feature for key, (feature, _) in found.items()})
                    break
            else:
                if episodes:
                    raise ConfigError(f"no chosen episode of {store.root} has the label {name!r}")
        return joined

    def columns(self, store: Store, episodes: Sequence[int]) -> dict[str, np.ndarray]:
        """`(T, *shape)` by key, for these episodes one after the other.

        Raises `EpisodeError` for labels that cannot stand at every frame, or differ from one episode to the next.
        """
        parts: dict[str, list[np.ndarray]] = {key: [] for key in self.features}
        for index in episodes:
            said: dict[str, tuple[Feature, np.ndarray]] = {}
            for one in self.asked:
                said |= self._of_episode(store, index, one)
            for key, feature in self.features.items():
                parts[key].append(_checked(store, index, key, feature, said.get(key)))
            if more := sorted(set(said) - set(self.features)):
                raise EpisodeError(store.ids[index], f"its labels make {', '.join(more)}, which others do not have")
        return {
            key: np.concatenate(found) if found else _nothing(self.features[key], 0) for key, found in parts.items()
        }

    def _of_episode(self, store: Store, index: int, one: str) -> dict[str, tuple[Feature, np.ndarray]]:
        """Nothing where the episode has no such label."""
        (name, column), identity = self.asked[one], store.ids[index]
        label = store.labels_of(identity, [name]).get(name)
        if label is None:
            return {}
        if column is not None:
            places = [c for c in ("start", "stop", "frame") if c in label.table.column_names and label.kind != "frame"]
            if column not in label.table.column_names:
                raise EpisodeError(identity, f"label {name!r} has no column {column!r}")
            label = Label(label.kind, label.table.select([*places, column]), label.source)
        return columns(identity, int(store.table_of_episodes.length[index]), one, label)


def _split(store: Store, one: str, names: list[str]) -> tuple[str, str]:
    name, _, column = one.rpartition(".")
    if name not in names:
        raise ConfigError(f"{store.root} has no label {one!r}; it has {', '.join(names) or 'none'}")
    return name, column


def columns(identity: str, length: int, name: str, label: Label) -> dict[str, tuple[Feature, np.ndarray]]:
    """`labels.columns`, and text: `label.<name>` where a label has no numbers and one text, else
    `label.<name>.<column>`.
    """
    found = labels.columns(identity, length, name, label)
    texts = [] if label.kind == "event" else [f.name for f in label.table.schema if _is_text(f.type)]
    lonely = not found and len(texts) == 1
    for column in texts:
        values = np.array([value or "" for value in label.table.column(column).to_pylist()], object).astype(str)
        if label.kind == "episode":
            if len(values) != 1:
                raise EpisodeError(identity, f"label {name!r} has {len(values)} rows; one can stand at every frame")
            values = np.repeat(values, length)
        elif label.kind == "span":
            spread = np.full(length, "", values.dtype if len(values) else "<U1")
            starts, stops = (label.table.column(c).to_pylist() for c in ("start", "stop"))
            for start, stop, value in zip(starts, stops, values, strict=True):
                spread[start:stop] = value
            values = spread
        found[f"label.{name}" if lonely else f"label.{name}.{column}"] = Feature("string", (1,), role="label"), values
    return found


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _checked(
    store: Store, index: int, key: str, feature: Feature, said: tuple[Feature, np.ndarray] | None
) -> np.ndarray:
    if said is None:
        if feature.dtype.startswith("float"):
            why = f"{key!r} is a float and nothing is said: leave it out of episodes="
            raise EpisodeError(store.ids[index], why)
        return _nothing(feature, int(store.table_of_episodes.length[index]))
    got, values = said
    if (got.dtype, got.shape) != (feature.dtype, feature.shape):
        raise EpisodeError(
            store.ids[index], f"{key!r} is {got.dtype} {got.shape}, in other episodes {feature.dtype} {feature.shape}"
        )
    return values


def _nothing(feature: Feature, length: int) -> np.ndarray:
    shape = (length,) if feature.shape == (1,) else (length, *feature.shape)
    kind = np.dtype("<U1") if feature.dtype == "string" else np.dtype(feature.dtype)
    return np.full(shape, _NOTHING.get(feature.dtype, 0 if kind.kind == "u" else -1), kind)
