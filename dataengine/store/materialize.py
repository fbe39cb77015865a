"""Side tables into the table of frames, for consumers that read columns only.

Text becomes LeRobot's two language columns, numbers of fixed shape become features `label.<name>…`: names that
begin with `observation.` or `action` would become inputs and outputs of its policies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature, Label
from dataengine.errors import EpisodeError, StoreError
from dataengine.store import labels, language
from dataengine.store.change import Change
from dataengine.store.compact import changing, replace
from dataengine.store.store import Store

TEXT = "language"


def materialize(store: Store, names: Sequence[str]) -> list[str]:
    """Write these labels, or all that can be, as columns into a new version; gives the columns' names.

    A number must be there for every episode. Raises `StoreError` for a named label that cannot become a column.
    """
    given = {name: store.labels(name) for name in (names or store.label_names())}
    spoken = {name: found for name, found in given.items() if any(language.speaks(name, v) for v in found.values())}
    features: dict[str, Feature] = {}
    made: dict[str, list[str]] = dict(store.commit.materialized) if store.commit else {}
    for name, found in given.items():
        try:
            keys = {} if name in spoken else _features(store, name, found)
        except (EpisodeError, StoreError):
            if names:
                raise
            continue
        features |= keys
        if name in spoken or keys:
            made[name] = [*keys, *([TEXT] if name in spoken else [])]
        elif names:
            raise StoreError(f"label {name!r} holds neither language nor numbers of fixed shape; no column can be made")
    if not made:
        raise StoreError(f"{store.root} has no labels that can become columns; it has {', '.join(given) or 'none'}")
    speaking = {name: store.labels(name) for name, columns in made.items() if TEXT in columns}

    def columns(index: int) -> Mapping[str, np.ndarray | pa.Array]:
        identity, length = store.ids[index], int(store.table_of_episodes.length[index])
        found: dict[str, np.ndarray | pa.Array] = {}
        for name, by_id in given.items():
            if name in made and name not in spoken:
                found |= {k: v for k, (_, v) in labels.columns(identity, length, name, by_id[identity]).items()}
        if speaking:
            said: dict[str, Label] = {n: v[identity] for n, v in speaking.items() if identity in v}
            found |= language.columns(identity, length, store.fps, said, store.cameras)
        return found

    said_in = language.LANGUAGE_COLUMNS if speaking else None
    with changing(store):
        replace(store, Change(features=features, columns=columns, languages=said_in, materialized=made), store)
    return [*features, *(language.LANGUAGE_COLUMNS if speaking else ())]


def _features(store: Store, name: str, found: Mapping[str, Label]) -> dict[str, Feature]:
    """The columns a label makes, the same for every episode."""
    if missing := [identity for identity in store.ids if identity not in found]:
        raise StoreError(f"label {name!r} is missing for {len(missing)} episodes, such as {missing[0]}")
    features: dict[str, Feature] | None = None
    for identity, label in found.items():
        length = int(store.table_of_episodes.length[store.index(identity)])
        here = {key: feature for key, (feature, _) in labels.columns(identity, length, name, label).items()}
        if features is not None and here != features:
            raise StoreError(f"label {name!r} has other columns or types in episode {identity}")
        features = here
    return features or {}
