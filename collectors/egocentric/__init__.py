"""Hands in video, so far from landmarks in pictures to metres in front of the camera (`metric.py`).

Trackers find the landmarks; what a robot makes of them belongs to `pipelines`.
"""
