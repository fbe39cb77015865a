"""The data engine's world for stock LeRobot: `--robot.type=dataengine_tabletop`, `--teleop.type=dataengine_expert`,
`--env.type=dataengine_tabletop`.

Every LeRobot command imports this module, whatever it was started for. So it holds the three configurations alone:
MuJoCo, rendering and the data engine are imported when one of them is chosen.
"""

from lerobot_robot_dataengine.config_expert import DataengineExpertConfig
from lerobot_robot_dataengine.config_tabletop import DataengineTabletopConfig
from lerobot_robot_dataengine.env import DataengineTabletopEnv

__all__ = ["DataengineExpertConfig", "DataengineTabletopConfig", "DataengineTabletopEnv"]
