"""Import the world before MuJoCo: it chooses how to draw without a display."""

import dataengine.sim  # noqa: F401
