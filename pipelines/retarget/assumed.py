"""What retargeting takes for true that an episode does not say, in words for its lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipelines.retarget.motion import Motion, Reading


def assumed(
    motions: Mapping[str, Motion], reading: Reading, space: str, scales: Mapping[str, float], robots: Iterable[str]
) -> tuple[str, ...]:
    """motions: by side, as `reading` found them. space: of the action; only "gripper" needs a calibration. scales: by
    side, lengths of a robot's hand for those of the person's. robots: what is assumed of them, in words."""
    found = []
    if all(motion.cameras is None for motion in motions.values()):
        found.append("the camera stands still")
    elif reading.turns_only:
        found.append("where its path has no scale, the camera turned where it stood")
    if space == "hand":
        return tuple(found)
    if not reading.based:
        found.append("the camera's frame at the first frame is the frame of reference")
    if reading.scale != 1.0:
        found.append(f"places are scaled by {reading.scale:g}")
    if reading.table is not None:
        far = [f"{side} hand {motion.nearer:.2f}" for side, motion in motions.items()]
        found.append(f"the table's height says how far away it all is: {', '.join(far)} times what the clip says")
    found += [f"{side} fingers are {scale:.2f} times as long as the person's" for side, scale in scales.items()]
    found += robots
    if space == "dexterous":
        return tuple(found)
    for side, motion in motions.items():
        closed, opened, (closed_seen, open_seen) = motion.calibration
        found.append(_said(f"{side} gripper closed", closed, closed_seen, reading.closed_at))
        found.append(_said(f"{side} gripper open", opened, open_seen, reading.open_at))
    return tuple(found)


def _said(what: str, distance: float, seen: bool, given: float | None) -> str:
    source = "from the clip" if seen else "as given" if given is not None else "not shown, as of an average hand"
    return f"{what} at {1e3 * distance:.0f} mm between the tips, {source}"
