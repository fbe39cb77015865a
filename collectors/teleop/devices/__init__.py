"""What a person, or a program in their place, drives with (`dataengine.robot.Device`).

`page.py` is what keyboard, pointer, touch, gamepad and phone have in common: they read what the page sent last.
"""
