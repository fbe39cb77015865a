"""The arms of the embedded world, by name. Every arm is made of primitives, with kinematics in closed form."""

from dataengine.sim.arms.base import Arm
from dataengine.sim.arms.five import FIVE
from dataengine.sim.arms.six import SIX

ARMS: dict[str, Arm] = {arm.name: arm for arm in (FIVE, SIX)}

__all__ = ["ARMS", "FIVE", "SIX", "Arm"]
