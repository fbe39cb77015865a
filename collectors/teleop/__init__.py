"""Teleoperation: somebody or something drives a robot at a fixed rate, and what happens becomes episodes.

`session.py` is what one sitting is, `loop.py` its clock, `robots/` and `devices/` who moves and who says how,
`web/` what a person sees. The journal and the store stand behind `collectors/recorder.py`.
"""
