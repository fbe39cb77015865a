"""From hands in video to actions of a robot: where its tool is, how far its gripper is open, which joints do that.

`stage.py` is the stage `retarget`; `hand.py` reads the columns of `dataengine.hands`, `pose.py` and `gripper.py` make a
parallel gripper of a hand, `arm.py` moves a robot's joints, `dexterous.py` its fingers, `actions.py` writes state and
action. Robots' files are loaded in `model_file.py`; `contacts.py` says what touches. Finding the hands in pictures is
the collectors' affair.
"""
