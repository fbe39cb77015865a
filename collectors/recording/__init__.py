"""The parts of the recorder (`collectors.recorder`): what stands in a take, its journal, and what is made of both.

`tick` says what a session gives; `rows` makes rows of it and says what is odd; `camera` encodes; `journal` writes all
of it down as it comes; `salvage` reads that back after a crash; `finish` makes the episode, the same for both.
"""
