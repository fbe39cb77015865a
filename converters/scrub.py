"""Taking the collecting machine's absolute paths out of what a data file says about itself.

Simulators write whole models and configurations into their files, with the paths of somebody's home folder.
What is kept of a path is the part from its package on, or else the file's name.
"""

from __future__ import annotations

import re
from typing import Any

# Folders from which on a path means the same on every machine.
_PACKAGES = ("robosuite", "robosuite_models", "robomimic", "mimicgen", "libero", "LIBERO", "robocasa", "site-packages")

_START = r"(?:file:/{2,3}|[A-Za-z]:[\\/]|~[\w.-]*/|/)"
# A whole quoted value, which may hold spaces; then any path with at least one folder in running text.
_QUOTED = re.compile(rf"""(?P<quote>["'])(?P<path>{_START}[^"'<>]*[\\/][^"'<>]*)(?P=quote)""")
_BARE = re.compile(rf"""(?<![\w.:<"'/\\-])(?P<path>{_START}(?:[^\s"'<>|,;:/\\]+[\\/])+[^\s"'<>|,;:/\\]*)""")
_WHOLE = re.compile(rf"{_START}[^\n]*")


def relative(path: str) -> str:
    """The part of an absolute path that says nothing about whose machine it is from."""
    parts = [part for part in re.split(r"[\\/]+", path) if part]
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] in _PACKAGES:
            return "/".join(parts[at + 1 if parts[at] == "site-packages" else at :])
    return parts[-1] if parts else ""


def scrub_text(text: str) -> str:
    """The text with every absolute path made relative; closing tags, units and URLs stay."""
    text = _QUOTED.sub(lambda m: m["quote"] + relative(m["path"]) + m["quote"], text)
    return _BARE.sub(lambda m: relative(m["path"]), text)


def scrub(value: Any) -> Any:
    """A JSON-able value with every absolute path in it, keys included, made relative."""
    if isinstance(value, dict):
        return {scrub(key): scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    if not isinstance(value, str):
        return value
    if _WHOLE.fullmatch(value) and re.search(r"[\\/]", value[1:]) and "<" not in value:
        return relative(value)
    return scrub_text(value)
