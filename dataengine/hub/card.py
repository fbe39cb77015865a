"""The dataset card: README.md with front matter, pictures, statistics, lineage and how to cite.

Text from episodes is data: it is escaped in Markdown and quoted in YAML, never obeyed.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from dataengine import faces, hands
from dataengine.episode import Episode
from dataengine.hub.preflight import Finding
from dataengine.pictures import filmstrip, sample
from dataengine.store import Store

MOST_TASKS = 20


@dataclass(frozen=True)
class Card:
    """A card's text and the pictures it shows, by path in the repository."""

    text: str
    pictures: Mapping[str, bytes]


def make_card(
    store: Store, repo_id: str, *, licence: str | None, findings: Sequence[Finding] = (), pictures: int = 3
) -> Card:
    """Describe a store. findings: what preflight warned of, said in the card as well."""
    episodes = [store[i] for i in range(len(store))]
    strips = _strips(episodes, pictures)
    front = {
        "license": hub_licence(licence),
        "task_categories": ["robotics"],
        "tags": ["LeRobot", *([store.embodiment] if store.embodiment else [])],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
        "size_categories": [_size(sum(e.length for e in episodes))],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
        f"# {markdown(repo_id.split('/')[-1])}",
        _summary(store, episodes),
        *[f"![episode {i}: {key}]({path})" for i, (path, (key, _)) in enumerate(strips.items())],
        "## Tasks\n\n" + _tasks(episodes),
        "## Features\n\n" + _features(store),
        *(["## Labels\n\n" + _labels(store)] if store.label_names() else []),
        "## Statistics\n\n" + _statistics(store),
        "## Where it comes from\n\n" + _lineage(episodes),
        "## Use\n\n```python\nfrom lerobot.datasets.lerobot_dataset import LeRobotDataset\n\n"
        f'dataset = LeRobotDataset("{repo_id}")\n```',
        "## Cite\n\n```bibtex\n" + _citation(repo_id) + "\n```",
    ]
    if notes := [f"- {markdown(str(f))}" for f in findings if f.level != "refuse"]:
        parts.insert(-2, "## Good to know\n\n" + "\n".join(notes))
    return Card("\n\n".join(parts) + "\n", {path: png for path, (_, png) in strips.items()})


def hub_licence(licence: str | None) -> str | list[str]:
    """As the Hub writes licences: lower case, several as a list."""
    names = [name.strip().lower() for name in (licence or "unknown").split(" AND ")]
    return names[0] if len(names) == 1 else names


def markdown(text: str) -> str:
    """Text as literal Markdown: no HTML, links, headings or line breaks come out of it, nor anything unseen."""
    seen = "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf") else c for c in re.sub(r"\s+", " ", text))
    flat = seen.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", flat)


def _summary(store: Store, episodes: Sequence[Episode]) -> str:
    frames = sum(e.length for e in episodes)
    known = [e.meta.success for e in episodes if e.meta.success is not None]
    cameras = [key.removeprefix("observation.images.") for key, f in store.features.items() if f.is_camera]
    rows = {
        "Episodes": f"{len(episodes):,}",
        "Frames": f"{frames:,} ({frames / store.fps / 60:.1f} minutes)",
        "Rate": f"{store.fps:g} Hz",
        "Embodiment": ", ".join(sorted({e.meta.embodiment for e in episodes if e.meta.embodiment})) or "not stated",
        "Cameras": ", ".join(cameras) or "none",
        "Success": f"{sum(known)} of {len(known)}" if known else "not stated",
        "Format": "LeRobotDataset v3.0",
    }
    if said := _hands(episodes):
        rows["Hands"] = said
    if said := faces.told(e.meta for e in episodes):
        rows["Faces"] = said
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {markdown(value)} |" for name, value in rows.items())


def _hands(episodes: Sequence[Episode]) -> str:
    """Which share of the frames shows each hand of human video, and how sure its place and rotation are; else empty."""
    shown, sigmas = [], []
    for side in hands.SIDES:
        columns = [hands.column(side, part) for part in ("tracked", "sigma")]
        if episodes and all(set(columns) <= set(e.frames) for e in episodes):
            tracked, sigma = (np.concatenate([np.asarray(e.frames[key]) for e in episodes]) for key in columns)
            shown.append(f"{side} in {np.mean(tracked != hands.ABSENT):.0%} of the frames")
            sigmas.append(sigma.reshape(-1, 2)[tracked != hands.ABSENT])
    if not shown or not any(map(len, sigmas)):
        return "; ".join(shown)
    place, turn = np.percentile(np.concatenate(sigmas), [50, 90], axis=0).T * [[1e3], [np.rad2deg(1.0)]]
    return (
        f"{'; '.join(shown)}; where they are seen, the wrist's place is sure to ± {place[0]:.0f} mm and the palm's "
        f"rotation to ± {turn[0]:.1f}° (standard deviations; median, and in nine of ten frames ± {place[1]:.0f} mm and "
        f"± {turn[1]:.1f}°)"
    )


def _tasks(episodes: Sequence[Episode]) -> str:
    counts = Counter(task for e in episodes for task in e.meta.tasks)
    if not counts:
        return "The source states no task."
    lines = [f"- {markdown(task) or '(empty)'} – {n} episodes" for task, n in counts.most_common(MOST_TASKS)]
    if len(counts) > MOST_TASKS:
        lines.append(f"- … and {len(counts) - MOST_TASKS} more")
    return "\n".join(lines)


def _features(store: Store) -> str:
    lines = ["| feature | type | shape | names | unit |", "|---|---|---|---|---|"]
    for key, f in store.features.items():
        names = ", ".join(f.names or ())
        unit = ", ".join(dict.fromkeys(f.unit)) if isinstance(f.unit, tuple) else f.unit or "not stated"
        cells = (key, f.dtype, "×".join(map(str, f.shape)), names[:200] + ("…" if len(names) > 200 else ""), unit)
        lines.append("| " + " | ".join(markdown(cell) for cell in cells) + " |")
    return "\n".join(lines + _meanings(store))


def _meanings(store: Store) -> list[str]:
    """What poses and actions refer to, where it is known."""
    lines = []
    for key, f in store.features.items():
        said = [f"{what} {f.info[what]}" for what in ("kind", "frame", "rotation") if isinstance(f.info.get(what), str)]
        if said:
            lines.append(f"- {markdown(key)}: {markdown('; '.join(said))}")
    return ["", *lines] if lines else []


def _labels(store: Store) -> str:
    """What is said about episodes beside the table, in `labels/<name>/`."""
    lines = []
    for name in store.label_names():
        found = store.labels(name)
        kinds = ", ".join(sorted({label.kind for label in found.values()}))
        lines.append(f"- {markdown(name)} ({kinds}): {len(found)} episodes")
    return "\n".join(lines)


def _statistics(store: Store) -> str:
    lines = ["| feature | element | min | 1 % | mean | std | 99 % | max |", "|---|---|---|---|---|---|---|---|"]
    stats = store.stats()
    for key, f in store.features.items():
        if f.is_camera or key not in stats or not key.startswith(("observation.", "action")) or f.size > 64:
            continue
        columns = [_flat(stats[key].get(name)) for name in ("min", "q01", "mean", "std", "q99", "max")]
        for i in range(min(f.size, max(map(len, columns)))):  # of a table, such as points, one row for each column
            name = f.names[i] if f.names and i < len(f.names) else str(i)
            values = " | ".join(f"{column[i]:.4g}" if i < len(column) else "–" for column in columns)
            lines.append(f"| {markdown(key)} | {markdown(name)} | {values} |")
    return "\n".join(lines)


def _lineage(episodes: Sequence[Episode]) -> str:
    """How many episodes came from what kind of source, from which files (a few named), and what was done to them."""
    sources: dict[str, Counter[str]] = {}
    for e in episodes:
        sources.setdefault(str(e.meta.source.get("format", "unknown")), Counter())[
            str(e.meta.source.get("file", ""))
        ] += 1
    lines = []
    for kind, files in sources.items():
        named = [markdown(file) for file in files if file]
        shown = ": " + ", ".join(named[:5]) + (" …" if len(named) > 5 else "") if named else ""
        lines.append(f"- {files.total()} episodes from {markdown(kind)}{shown}")
    steps: dict[tuple[str, str], set[str]] = {}
    for episode in episodes:
        for step in episode.meta.lineage:
            steps.setdefault((step.name, step.version), set()).update(step.assumed)
    if steps:
        lines.append("\nWhat was done, in order:\n")
        for (name, version), assumed in steps.items():
            lines.append(f"1. {markdown(name)} (version {markdown(version)})")
            lines += [f"   - assumed: {markdown(a)}" for a in sorted(assumed)]
    return "\n".join(lines[:200])


def _citation(repo_id: str) -> str:
    owner, name = repo_id.split("/")
    key = re.sub(r"\W", "_", name)
    fields = {"author": owner, "title": name, "howpublished": f"Hugging Face Hub, {repo_id}"}
    return "@misc{" + key + ",\n" + ",\n".join(f"  {k} = {{{v}}}" for k, v in fields.items()) + "\n}"


def _strips(episodes: Sequence[Episode], count: int) -> dict[str, tuple[str, bytes]]:
    """Filmstrips of a few episodes' first camera, by path in the repository."""
    shown = [e for e in episodes if e.clips]
    step = max(1, len(shown) // max(count, 1))
    strips: dict[str, tuple[str, bytes]] = {}
    for number, episode in enumerate(shown[::step][:count]):
        key = next((k for k, c in episode.clips.items() if c.kind == "rgb"), next(iter(episode.clips)))
        strips[f"assets/episode_{number}.png"] = (markdown(key), filmstrip(sample(episode.clips[key])))
    return strips


def _flat(values: Any) -> list[float]:
    return [] if values is None else np.asarray(values, float).ravel().tolist()


def _size(frames: int) -> str:
    for limit, name in ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M")):
        if frames < limit:
            return name
    return "n>10M"
