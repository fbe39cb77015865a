"""What can be asked for in the tabletop world, by name. The name of a task says which kind of scene it belongs to."""

from dataengine.errors import ConfigError
from dataengine.sim.arms import ARMS
from dataengine.sim.kinds import BINS, CUBES, DRAWER
from dataengine.sim.kinds.cups import CUP
from dataengine.sim.tasks.base import Task
from dataengine.sim.tasks.bin import Bin
from dataengine.sim.tasks.drawer import CloseDrawer, IntoDrawer, OpenDrawer
from dataengine.sim.tasks.left_of import LeftOf
from dataengine.sim.tasks.pick import Pick
from dataengine.sim.tasks.place import Place
from dataengine.sim.tasks.pour import Pour
from dataengine.sim.tasks.push import Push
from dataengine.sim.tasks.sort import Sort
from dataengine.sim.tasks.stack import Stack

_PAIRS = (("red", "blue"), ("blue", "red"))
_ALL: tuple[Task, ...] = (
    *(task("cubes", name) for task in (Pick, Place, Push) for name in CUBES.thing),
    *(LeftOf("cubes", one, mark) for one, mark in _PAIRS),
    *(Stack("cubes", one, under) for one, under in _PAIRS),
    *(task("bins", name) for task in (Pick, Bin) for name in BINS.thing),
    Sort("bins"),
    OpenDrawer("drawer"),
    CloseDrawer("drawer"),
    *(IntoDrawer("drawer", name) for name in DRAWER.thing),
    Pour("cups", CUP.name),
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def task_named(name: str, arm: str | None = None) -> Task:
    """The task of a name; `ConfigError` lists what exists, or says what `arm` lacks for it."""
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r} in this world; it has {', '.join(TASKS)}")
    task = TASKS[name]
    if arm is not None and arm not in task.arms:
        able = " or ".join(repr(other) for other in task.arms)
        raise ConfigError(f"the arm {arm!r} cannot do {name!r}: it needs {task.needs}, as arm {able} has")
    return task


def tasks_of(arm: str) -> tuple[str, ...]:
    """Names of all tasks an arm can do."""
    if arm not in ARMS:
        raise ConfigError(f"there is no arm {arm!r} in this world; it has {', '.join(ARMS)}")
    return tuple(name for name, task in TASKS.items() if arm in task.arms)


__all__ = ["TASKS", "Task", "task_named", "tasks_of"]
