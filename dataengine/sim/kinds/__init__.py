"""The kinds of scenes, by name: which furniture and things stand there. One file a kind."""

from dataengine.sim.kinds.base import Kind
from dataengine.sim.kinds.bins import BINS
from dataengine.sim.kinds.cubes import CUBES
from dataengine.sim.kinds.cups import CUPS
from dataengine.sim.kinds.drawer import DRAWER

KINDS: dict[str, Kind] = {kind.name: kind for kind in (CUBES, BINS, DRAWER, CUPS)}

__all__ = ["BINS", "CUBES", "CUPS", "DRAWER", "KINDS", "Kind"]
