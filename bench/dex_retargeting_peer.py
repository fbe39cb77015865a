"""The other program's side of `bench.dex_retargeting`: a child process with that program's own Python.

One line of JSON in is a task, one line of JSON out says it is done; arrays lie in the `.npz` files that the task names.
Nothing of this project is imported here.
"""

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

# Beside this file lies a module of the same name as the program's.
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from dex_retargeting.retargeting_config import RetargetingConfig  # noqa: E402


def main():
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the program prints is no reply
    torch.set_num_threads(1)
    made = {}
    for line in sys.stdin:
        task = json.loads(line)
        found = {"version": version, "make": make, "follow": follow, "values": values, "tips": tips}[task["do"]](
            made, task
        )
        replies.write(json.dumps(found) + "\n")
        replies.flush()


def version(made, task):
    return {"version": f"dex-retargeting {metadata.version('dex_retargeting')}"}


def make(made, task):
    made["config"] = dict(task["config"])
    robot = built(made)
    return {"joints": robot.optimizer.target_joint_names, "keep": robot.optimizer.norm_delta}


def built(made):
    """Anew, as it remembers what it saw."""
    config = dict(made["config"])
    if "target_link_human_indices" in config:
        config["target_link_human_indices"] = np.array(config["target_link_human_indices"])
    return RetargetingConfig(**config).build()


def follow(made, task):
    """Solutions of a clip, each from the one before, and the seconds of this thread that each took."""
    given = np.load(task["in"], allow_pickle=False)
    robot = built(made)
    robot.last_qpos = given["start"].astype(np.float32)
    order = robot.optimizer.idx_pin2target
    joints, seconds = [], []
    for wanted in given["wanted"]:
        begin = time.thread_time()
        full = robot.retarget(wanted)
        seconds.append(time.thread_time() - begin)
        joints.append(full[order])
    np.savez(task["out"], joints=np.array(joints, np.float64), seconds=np.array(seconds))
    return {}


def values(made, task):
    """The program's own function at joints of anybody, frame by frame; the pull to the last solution left out, as the
    function leaves it out of its value."""
    given = np.load(task["in"], allow_pickle=False)
    optimizer = built(made).optimizer
    found = np.empty(given["joints"].shape[:2])
    none = np.zeros(0)
    for frame, wanted in enumerate(given["wanted"]):
        function = optimizer.get_objective_function(
            wanted.astype(np.float32), np.zeros(0, np.float32), np.zeros(found.shape[0], np.float32)
        )
        for row, joints in enumerate(given["joints"]):
            found[row, frame] = function(joints[frame], none)
    np.savez(task["out"], values=found)
    return {}


def tips(made, task):
    """Where the program has the fingertips, in the palm's frame."""
    given = np.load(task["in"], allow_pickle=False)
    optimizer = built(made).optimizer
    robot, found = optimizer.robot, []
    for joints in given["joints"]:
        whole = np.zeros(robot.dof)
        whole[optimizer.idx_pin2target] = joints
        if optimizer.adaptor is not None:
            whole = optimizer.adaptor.forward_qpos(whole)
        robot.compute_forward_kinematics(whole)
        found.append([robot.get_link_pose(robot.get_link_index(name))[:3, 3] for name in task["links"]])
    np.savez(task["out"], tips=np.array(found))
    return {}


if __name__ == "__main__":
    main()
