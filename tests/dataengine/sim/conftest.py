"""Import the world before MuJoCo: it chooses how to draw without a display. And let no property fail for being slow on
a machine that does other work too."""

from hypothesis import settings

import dataengine.sim  # noqa: F401

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
