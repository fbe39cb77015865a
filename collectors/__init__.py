"""Live sources of episodes: teleoperation, cameras, rollouts, the scripted expert.

A collector yields `Episode`s as they happen. Reading files that already exist belongs to `converters`.
"""
