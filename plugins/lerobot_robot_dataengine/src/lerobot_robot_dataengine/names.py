"""Names of numbers as LeRobot wants them."""

from __future__ import annotations

from dataengine.episode import Feature

KEPT = (".pos", ".vel")  # `lerobot-rollout` drops every number whose name ends otherwise


def suffixed(feature: Feature) -> tuple[str, ...]:
    """The names of a feature's numbers, each ending in `.pos` or `.vel`."""
    names = feature.names or tuple(str(place) for place in range(feature.size))
    return tuple(name if name.endswith(KEPT) else f"{name}.pos" for name in names)
