"""How each sort of task is done, one rule a file: what the tool shall aim at and how far the gripper shall open, given
only what is so now. A rule never remembers, so it recovers from whatever noise or a failed grasp has led to.
"""

from dataengine.sim.rules.base import Rule
from dataengine.sim.rules.drawer import close_drawer, into_drawer, open_drawer
from dataengine.sim.rules.pick import pick
from dataengine.sim.rules.pour import pour
from dataengine.sim.rules.push import push
from dataengine.sim.rules.put import into_bin, left_of, place, sort, stack

RULES: dict[str, Rule] = {
    "pick": pick,
    "place": place,
    "push": push,
    "left_of": left_of,
    "stack": stack,
    "bin": into_bin,
    "sort": sort,
    "open_drawer": open_drawer,
    "close_drawer": close_drawer,
    "drawer": into_drawer,
    "pour": pour,
}

__all__ = ["RULES"]
