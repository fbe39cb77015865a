"""Features of several stores under common names: which there are, and whether they are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.store.schema import is_depth
from dataengine.store.store import Store


def names_of(name: str, store: Store, mapping: Mapping[str, str]) -> dict[str, str]:
    """What each feature of a store is called here."""
    if unknown := sorted(set(mapping) - set(store.features)):
        raise ConfigError(f"store {name!r} has no {', '.join(unknown)} to map; it has {', '.join(store.features)}")
    called = {key: mapping.get(key, key) for key in store.features}
    if twice := sorted({new for new in called.values() if list(called.values()).count(new) > 1}):
        raise ConfigError(f"store {name!r} has two features for {', '.join(twice)}; map the other one elsewhere")
    return called


def common(called: Mapping[str, Mapping[str, str]], columns: Sequence[str] | None) -> list[str]:
    """The columns that every store gives. Raises `ConfigError` saying what each one lacks."""
    if not called:
        raise ConfigError("a mixture needs at least one store")
    everything = list(dict.fromkeys(key for own in called.values() for key in own.values()))
    keys = everything if columns is None else list(columns)
    lacks = {name: [key for key in keys if key not in own.values()] for name, own in called.items()}
    if any(lacks.values()):
        said = [f"{name!r} has no {', '.join(missing)}" for name, missing in lacks.items() if missing]
        spare = {name: [new for new in own.values() if new not in keys or any(new in m for m in lacks.values())]
                 for name, own in called.items()}  # fmt: skip
        offers = [f"{name!r}: {', '.join(more)}" for name, more in spare.items() if more]
        raise ConfigError(
            f"the stores do not have the same features: {'; '.join(said)}. Map what means the same with mapping=, or "
            f"leave it out with columns= (not in all of them: {'; '.join(offers) or 'none'})"
        )
    return keys


def agreed(given: Mapping[str, Mapping[str, Feature]]) -> dict[str, Feature]:
    """The features that all stores give. Raises `ConfigError` naming the first that is not the same in two of them."""
    known: dict[str, tuple[str, Feature]] = {}
    for name, features in given.items():
        for key, feature in features.items():
            first, other = known.setdefault(key, (name, feature))
            if differs := _differs(other, feature):
                raise ConfigError(
                    f"{key!r} is {differs[0]} in store {first!r} and {differs[1]} in {name!r}; map another feature to "
                    "it, or leave it out of columns="
                )
    for name, features in given.items():
        if missing := sorted(set(known) - set(features)):
            raise ConfigError(f"store {name!r} has no {', '.join(missing)}")
    return {key: feature for key, (_, feature) in known.items()}


def _differs(one: Feature, other: Feature) -> tuple[str, str] | None:
    """What two features are that are not the same."""
    kinds = [("depth" if is_depth(f) else "pictures") if f.is_camera else f.dtype for f in (one, other)]
    if (kinds[0], one.shape) != (kinds[1], other.shape):
        return f"{kinds[0]} {one.shape}", f"{kinds[1]} {other.shape}"
    return (str(one.unit), str(other.unit)) if one.unit and other.unit and one.unit != other.unit else None
