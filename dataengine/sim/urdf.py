"""URDF files: as MuJoCo takes them, without masses and with their packages found on the disk, and what it omits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from dataengine.errors import ConfigError

ABOVE = 8  # folders above the file in which a package is looked for
PACKAGE = re.compile(r"(?:package|model):/+([^/]+)/(.+)")
MESHES = (".stl", ".obj", ".msh")  # what MuJoCo reads of shapes


def is_urdf(text: bytes) -> bool:
    """Whether the first element of a description is a `robot`."""
    first = re.search(rb"<([A-Za-z_][^\s/>]*)", _without_comments(text))
    return first is not None and first[1] == b"robot"


def read_urdf(text: bytes, path: Path) -> ElementTree.Element:
    """Its `robot`. Raises `ConfigError` where it is not XML, or not yet a URDF."""
    try:
        root = ElementTree.fromstring(_with_prefixes(_without_comments(text)))
    except ElementTree.ParseError as error:
        raise ConfigError(f"{path} is no URDF: {error}") from error
    if any("xacro}" in element.tag for element in root.iter()):
        raise ConfigError(
            f"{path} is a xacro, from which a URDF is still to be made: run `xacro {path.name} > robot.urdf`, and "
            "give that file"
        )
    return root


def speeds_of(root: ElementTree.Element) -> dict[str, float]:
    """The most that each joint is said to do [rad/s, m/s], where it is."""
    found = {}
    for joint in root.findall("joint"):
        limit = joint.find("limit")
        try:
            speed = float(limit.get("velocity", 0.0)) if limit is not None else 0.0
        except ValueError:
            continue
        if 0 < speed < math.inf:
            found[joint.get("name", "")] = speed
    return found


def plain_urdf(text: bytes, path: Path) -> str:
    """path: where it stands. Raises `ConfigError` as `read_urdf` does."""
    root = read_urdf(text, path)
    try:
        for link in root.iter("link"):
            for part in [*link.findall("inertial"), *filter(_is_unreadable, link.findall("visual"))]:
                link.remove(part)
        for mesh in root.iter("mesh"):
            if "filename" in mesh.attrib:
                mesh.set("filename", _found(mesh.attrib["filename"], path.absolute().parent))
        return ElementTree.tostring(root, "unicode")
    except RecursionError as error:
        raise ConfigError(f"{path} is no URDF: its elements lie too deeply in one another") from error


def _without_comments(text: bytes) -> bytes:
    first, *others = text.split(b"<!--")
    return b"".join([first, *(part.partition(b"-->")[2] for part in others)])


def _with_prefixes(text: bytes) -> bytes:
    """Names such as `drake:joint` stand in many files that nowhere say what `drake` is."""
    known = {b"xml", b"xmlns", *re.findall(rb"\sxmlns:([\w.-]+)\s*=", text)}
    used = set(re.findall(rb"[</\s]([A-Za-z_][\w.-]*):[\w.-]+[\s=/>]", text)) - known
    names = b"".join(b' xmlns:%s="%s"' % (name, name) for name in sorted(used))
    return text.replace(b"<robot", b"<robot" + names, 1)


def _is_unreadable(visual: ElementTree.Element) -> bool:
    names = [mesh.get("filename", "") for mesh in visual.iter("mesh")]
    return any(not name.lower().endswith(MESHES) for name in names)


def _found(name: str, folder: Path) -> str:
    """Of a mesh in a package the file, if there is one."""
    if name.startswith("file://"):
        return name.removeprefix("file://")
    if (package := PACKAGE.fullmatch(name)) is None:
        return name
    return next((str(file) for file in _places(package[1], package[2], folder) if file.is_file()), name)


def _places(package: str, inside: str, folder: Path) -> Iterator[Path]:
    if ".." in (package, *Path(inside).parts):
        return
    for above in (folder, *list(folder.parents)[:ABOVE]):
        yield above / package / inside
        yield above / inside  # a package may stand in a folder of another name
