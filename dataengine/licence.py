"""What licence a dataset has that is put together from several: merged where that is plain, else refused.

No legal advice: whatever two licences might allow together, only combinations that no reading forbids are made
by rule, and a person settles the rest. Names are SPDX identifiers; the Hub writes them in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataengine.errors import ConfigError

# Works under these may stand in one dataset as long as each is named.
PERMISSIVE = {
    name.lower(): name
    for name in (
        "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0",
        "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "ODC-By-1.0", "PDDL-1.0", "Unlicense",
    )
}  # fmt: skip
PERMISSIVE |= {"odc-by": "ODC-By-1.0", "pddl": "PDDL-1.0"}
_SAYS_NOTHING = ("", "unknown", "other", "none", "unspecified")


def kind_of(licence: str | None) -> str:
    """ "permissive", "non-commercial", "no derivatives", "share-alike" or "unknown"."""
    name = (licence or "").strip().lower()
    if name in PERMISSIVE:
        return "permissive"
    words = set(name.replace("_", "-").split("-"))
    if "nd" in words:
        return "no derivatives"
    if "nc" in words:
        return "non-commercial"
    if "sa" in words or words & {"gpl", "lgpl", "agpl", "odbl", "sharing"}:
        return "share-alike"
    return "unknown"


def merge_licences(named: Mapping[str, str | None]) -> str | None:
    """The licence of all sources together; `named` gives each source's own by a name for people.

    One licence throughout stays; several permissive ones become `A AND B`; no licence throughout stays none: one
    is never invented. Raises `ConfigError` for every other mixture, and for works nobody may build upon.
    """
    known = {source: licence.strip() for source, licence in named.items() if licence and not _silent(licence)}
    if not known:
        return None
    kinds = {source: kind_of(licence) for source, licence in known.items()}
    listed = ", ".join(f"{source}: {known.get(source, 'says none')}" for source in named)
    settle = "; if you may decide it, set `licence` in each source's mapping"
    if bound := [source for source, kind in kinds.items() if kind == "no derivatives" and len(named) > 1]:
        raise ConfigError(f"{bound[0]} is under {known[bound[0]]}: it must not be built upon, merging included{settle}")
    if len(known) < len(named):
        raise ConfigError(f"not every source says its licence ({listed}), so the whole would have none{settle}")
    if len({licence.lower() for licence in known.values()}) == 1:
        return next(iter(known.values()))
    if strict := sorted({kind for kind in kinds.values() if kind != "permissive"}):
        raise ConfigError(
            f"the licences cannot be merged by rule ({listed}): {' and '.join(strict)} "
            f"terms would bind or shut out the others{settle}"
        )
    return " AND ".join(sorted({PERMISSIVE[licence.lower()] for licence in known.values()}))


def _silent(licence: str) -> bool:
    return licence.strip().lower() in _SAYS_NOTHING
