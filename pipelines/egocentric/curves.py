"""Drawings of a hand's motion as SVG text: curves with bands over time, spans, and the wrist's path. Every word is
escaped; colours are classes of the page, so that they follow its light and dark."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from dataengine.runs import runs

WIDE, LEFT, RIGHT = 1000, 150, 10  # [px] of a drawing, of which are for words and at the right edge
TALL, LANE = 74, 15
POINTS = 700  # of a curve
LEAST = 1e-9


@dataclass(frozen=True)
class Curve:
    """values: `(T,)`. there: `(T,)` bool, where they mean something. band: `(T,)` to both sides. kind: a class of the
    page, such as a side's name."""

    values: np.ndarray
    there: np.ndarray
    kind: str
    band: np.ndarray | None = None


@dataclass(frozen=True)
class Panel:
    """Curves with one scale. title: two lines of words. shaded: spans `(start, stop)` of frames by class of the page,
    with their words. level: values that are marked. low, high: ends of the scale that are shown in any case."""

    title: tuple[str, str]
    curves: Sequence[Curve]
    shaded: Sequence[tuple[int, int, str, str]] = ()
    levels: Sequence[float] = ()
    low: float | None = None
    high: float | None = None


def panels(shown: Sequence[Panel], frames: int, fps: float) -> Markup:
    """One over the other along one axis of time [s]."""
    parts, top = [], 4
    for panel in shown:
        parts.append(_panel(panel, top, frames))
        top += TALL + 12
    parts.append(_seconds(frames, fps, 0, top))
    return _svg("plots", top + 18, "The motion over time", parts)


def lanes(
    rows: Sequence[tuple[str, Sequence[tuple[int, int, str, str]]]], first: int, frames: int, fps: float
) -> Markup:
    """Spans `(start, stop, class, words)` in named lanes, of frames `first` on along an axis of time [s]."""
    parts = []
    for place, (name, spans) in enumerate(rows):
        top = 4 + place * (LANE + 5)
        parts.append(f'<text x="{LEFT - 10}" y="{top + 12}" text-anchor="end">{_words(name)}</text>')
        parts.append(f'<rect class="ground" x="{LEFT}" y="{top}" width="{WIDE - LEFT - RIGHT}" height="{LANE}"/>')
        parts += [_span(span, top, LANE, first, frames) for span in spans]
    top = 4 + len(rows) * (LANE + 5)
    return _svg(
        "plots", top + 16, "Which frames show a hand and which were cut", [*parts, _seconds(frames, fps, first, top)]
    )


def path(points: Mapping[str, np.ndarray], axes: tuple[int, int], names: tuple[str, str], flip: bool) -> Markup:
    """Ways `(T, 3)` [m] by class of the page, seen along the third axis; the dot is where each begins. flip: the second
    axis goes down, as in a picture. Both axes have one scale; the bar is as long as it says."""
    size, edge = 250, 22
    flat = {kind: each[:, axes] * [1, 1 if flip else -1] for kind, each in points.items() if len(each)}
    if not flat:
        return Markup("")
    every = np.concatenate(list(flat.values()))
    low, high = every.min(0), every.max(0)
    scale = (size - 2 * edge) / max(float((high - low).max()), 0.02)
    middle = (low + high) / 2
    parts = []
    for kind, each in flat.items():
        thin = each[np.unique(np.linspace(0, len(each) - 1, min(POINTS, len(each))).astype(int))]
        drawn = size / 2 + scale * (thin - middle)
        parts.append(f'<polyline class="curve {escape(kind)}" points="{_points(drawn)}"/>')
        parts.append(f'<circle class="dot {escape(kind)}" cx="{drawn[0, 0]:.1f}" cy="{drawn[0, 1]:.1f}" r="3.5"/>')
    bar = _round_below(0.4 * (size - 2 * edge) / scale)
    parts.append(f'<line class="bar" x1="12" x2="{12 + scale * bar:.1f}" y1="{size - 8}" y2="{size - 8}"/>')
    parts.append(f'<text x="12" y="{size - 13}">{1e3 * bar:g} mm</text>')
    parts.append(f'<text x="{size - 6}" y="14" text-anchor="end">{escape(names[0])} · {escape(names[1])}</text>')
    return Markup(
        f'<svg class="path" viewBox="0 0 {size} {size}" role="img"><title>The way of the wrist</title>'
        f'<rect class="ground" width="{size}" height="{size}" rx="6"/>{"".join(parts)}</svg>'
    )


def _panel(panel: Panel, top: int, frames: int) -> str:
    low, high = _scale(panel)

    def y(values: np.ndarray | float) -> Any:
        return top + TALL - 3 - (TALL - 6) * (np.asarray(values) - low) / (high - low)

    parts = [f'<rect class="ground" x="{LEFT}" y="{top}" width="{WIDE - LEFT - RIGHT}" height="{TALL}"/>']
    parts += [_span(span, top, TALL, 0, frames) for span in panel.shaded]
    for value in _ticks(low, high):
        at = float(y(value))
        words = min(max(at + 4, top + 9), top + TALL)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{words:.1f}" text-anchor="end">{value:g}</text>')
    for level in panel.levels:
        if low <= level <= high:
            parts.append(
                f'<line class="level" x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>'
            )
    for curve in panel.curves:
        parts += _curve(curve, y, frames)
    for row, said in enumerate(panel.title):
        kind = "name" if row == 0 else "unit"
        parts.append(f'<text class="{kind}" x="0" y="{top + 14 + 15 * row}">{_words(said)}</text>')
    return "".join(parts)


def _curve(curve: Curve, y: Any, frames: int) -> list[str]:
    parts = []
    step = max(1, int(np.ceil(frames / POINTS)))
    for start, stop in runs(curve.there & np.isfinite(curve.values)):
        at = np.unique([*range(start, stop, step), stop - 1])
        x = _x(at + 0.5, 0, frames)
        if curve.band is not None:
            up, down = y(curve.values[at] + curve.band[at]), y(curve.values[at] - curve.band[at])
            outline = np.concatenate([np.stack([x, up], 1), np.stack([x, down], 1)[::-1]])
            parts.append(f'<polygon class="band {escape(curve.kind)}" points="{_points(outline)}"/>')
        drawn = np.stack([x, y(curve.values[at])], 1)
        parts.append(f'<polyline class="curve {escape(curve.kind)}" points="{_points(drawn)}"/>')
    return parts


def _scale(panel: Panel) -> tuple[float, float]:
    ends = [end for end in (panel.low, panel.high) if end is not None]
    for curve in panel.curves:
        shown = curve.there & np.isfinite(curve.values)
        if shown.any():
            band = 0.0 if curve.band is None else curve.band[shown]
            ends += [float((curve.values[shown] - band).min()), float((curve.values[shown] + band).max())]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    wider = max(0.04 * (high - low), 1e-3 * max(abs(low), abs(high)), LEAST)
    return low - wider * (panel.low != low), high + wider * (panel.high != high)


def _span(span: tuple[int, int, str, str], top: int, tall: int, first: int, frames: int) -> str:
    start, stop = (min(max(at - first, 0), frames) for at in span[:2])
    if stop <= start:
        return ""
    left, right = _x(np.array([start, stop]), 0, frames).tolist()
    title = f"<title>{_words(span[3])}</title>" if span[3] else ""
    return (
        f'<rect class="span {escape(span[2])}" x="{left:.1f}" y="{top}" width="{max(right - left, 1.5):.1f}" '
        f'height="{tall}">{title}</rect>'
    )


def _seconds(frames: int, fps: float, first: int, top: int) -> str:
    begin, end = first / fps, (first + frames) / fps
    found = []
    for mark in _ticks(begin, end, 6):
        x = float(_x(np.array(mark * fps - first), 0, frames))
        anchor = "end" if x > WIDE - RIGHT - 20 else "middle"
        found.append(f'<text x="{x:.1f}" y="{top + 11}" text-anchor="{anchor}">{mark:g} s</text>')
    return "".join(found)


def _x(frame: np.ndarray, first: int, frames: int) -> np.ndarray:
    return LEFT + (WIDE - LEFT - RIGHT) * (frame - first) / max(frames, 1)


def _points(places: Iterable[Any]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _ticks(low: float, high: float, most: int = 3) -> list[float]:
    """Round numbers from `low` to `high`, some `most` of them and at least two: one alone is no scale."""
    step = _round_above((high - low) / most) or 1.0
    while high > low and np.floor(high / step + 1e-6) - np.ceil(low / step - 1e-6) < 1:
        step = _round_below(step * 0.9)
    marks = np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1) * step + 0.0
    return np.round(marks[: 4 * most], 12).tolist()


def _round_above(value: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below it; 0 of nothing."""
    below = _round_below(value)
    return below if below >= value * (1 - 1e-9) else below * (2.5 if f"{below:e}".startswith("2") else 2.0)


def _round_below(value: float) -> float:
    """The greatest of 1, 2 and 5 times a power of ten that is not above it."""
    if not value > 0:
        return 0.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (5, 2, 1) if step * power <= value * (1 + 1e-9)))


def _words(text: str) -> Markup:
    """Text as text, also where it holds what would not be seen or would turn the line around."""
    return escape("".join("\ufffd" if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in text))


def _svg(kind: str, height: float, title: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {WIDE} {height:.0f}" role="img"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )
