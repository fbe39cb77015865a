"""From proprioception to words: `body.py` finds arms and grippers among named columns, `primitives.py` cuts motion
into directions, `subtasks.py` cuts an episode between gripper events. `annotators.motion_language` puts them together.

Nothing here guesses: what the columns' names and units do not say is left unsaid.
"""
