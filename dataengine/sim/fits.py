"""Whether a policy's actions mean in a world what they meant in the dataset it learned from."""

from __future__ import annotations

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.sim.base import Declared, World


def refuse_other_actions(policy: object, world: World) -> None:
    """Raise `ConfigError` with every difference between the actions of a policy and of a world: names, units,
    absolute or delta, rate. What either does not say is not compared; a policy that says nothing may act."""
    if not isinstance(policy, Declared):
        return
    theirs, ours = policy.action, world.features["action"]
    wrong = [
        f"{what} {there}, not {here}"
        for what, there, here in (
            ("its actions are", _names(theirs), _names(ours)),
            ("in units of", _units(theirs), _units(ours)),
            ("each is", theirs.control, ours.control),
            ("at a rate [Hz] of", f"{policy.fps:g}", f"{world.fps:g}"),
        )
        if there and here and there != here
    ]
    if wrong:
        raise ConfigError(f"the policy was trained for another robot than this world's: {'; '.join(wrong)}")


def _names(feature: Feature) -> str:
    return ", ".join(feature.names or ())


def _units(feature: Feature) -> str:
    """All of them, or nothing where one is unknown."""
    units = feature.unit if isinstance(feature.unit, tuple) else (feature.unit,) * feature.size
    return ", ".join(unit for unit in units if unit) if all(units) else ""
