"""Which scenes are for learning and which for judging: two ranges of seeds that never meet.

A scene is known by one integer. Demonstrations take theirs below 2**30, evaluation at or above it.
"""

from __future__ import annotations

from dataengine.errors import ConfigError

EVALUATION = 2**30
SCENES = 2**16  # scenes of one run; each run has a seed of its own
RUNS = EVALUATION // SCENES


def training_scene(run: int, index: int) -> int:
    """The seed of scene `index` of collecting run `run`."""
    return _scene(run, index)


def evaluation_scene(run: int, index: int) -> int:
    """The seed of scene `index` of evaluation `run`; no training scene has it."""
    return EVALUATION + _scene(run, index)


def _scene(run: int, index: int) -> int:
    if not 0 <= run < RUNS or not 0 <= index < SCENES:
        raise ConfigError(f"seeds are 0 to {RUNS - 1} and scenes of a run 0 to {SCENES - 1}, not {run} and {index}")
    return run * SCENES + index
