"""What can be asked for in the tabletop world, by name: every kind of task for every cube."""

from dataengine.sim.scene import COLOURS
from dataengine.sim.tasks.base import Task
from dataengine.sim.tasks.pick import Pick
from dataengine.sim.tasks.place import Place
from dataengine.sim.tasks.push import Push

KINDS: tuple[type[Task], ...] = (Pick, Place, Push)
TASKS: dict[str, Task] = {task.name: task for kind in KINDS for task in map(kind, COLOURS)}

__all__ = ["KINDS", "TASKS", "Pick", "Place", "Push", "Task"]
