"""Small drawings as SVG text. Numbers come from figures, every word is escaped; colours are the page's variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

# The page's series colours, in an order in which neighbours differ for every kind of eye.
SERIES = tuple(f"var(--series-{n})" for n in range(8))


def river(stages: Sequence[Mapping[str, Any]], kept: int) -> Markup:
    """Episodes flowing through the stages: the band's height is their number, what leaves it turns down.

    stages: `name`, `into`, `out`, `dropped`, `quarantined` in order.
    """
    lost_any = [any(stage[what] for stage in stages) for what in ("dropped", "quarantined")]
    step, top, height = max(118, 870 // max(len(stages), 1)), 46, 110
    below = 18 + 22 * sum(lost_any) + 26 * any(lost_any)
    most = max([1, kept, *(s["into"] for s in stages), *(s["out"] for s in stages)])
    width = step * len(stages) + 90
    parts = [f'<svg class="river" viewBox="0 0 {width} {top + height + below}" width="{width}" role="img">']
    parts.append("<title>How many episodes each stage took and passed on</title>")

    def tall(count: float) -> float:
        return max(height * count / most, 1.5) if count else 0.0

    for place, stage in enumerate(stages):
        left, right = place * step + 20, (place + 1) * step + 20
        came, went = tall(stage["into"]), tall(stage["out"])
        bend = (left + right) / 2
        parts.append(
            f'<path class="band" d="M{left},{top} C{bend},{top} {bend},{top} {right},{top} L{right},{top + went:.1f} '
            f'C{bend},{top + went:.1f} {bend},{top + came:.1f} {left},{top + came:.1f} Z"/>'
        )
        begin = top + went
        for what in ("dropped", "quarantined"):
            count = stage[what]
            if count:
                lost, low = tall(count), top + height + 26 + (22 if what == "quarantined" and lost_any[0] else 0)
                parts.append(
                    f'<path class="lost {what}" d="M{left + 24},{begin + lost / 2:.1f} C{bend},{begin + lost / 2:.1f} '
                    f'{bend},{low} {bend + 14},{low}" stroke-width="{min(max(lost, 2), 18):.1f}"/>'
                )
                parts.append(f'<text class="{what}" x="{bend + 24}" y="{low + 4}">{count:,} {what}</text>')
        parts.append(f'<line class="gate" x1="{left}" x2="{left}" y1="{top - 8}" y2="{top + max(came, 12):.1f}"/>')
        parts.append(f'<text class="stage" x="{left + 4}" y="{top - 22}">{escape(_short(stage["name"], 20))}</text>')
        parts.append(f'<text class="count" x="{left + 4}" y="{top - 9}">{stage["into"]:,}</text>')
    end = len(stages) * step + 20
    parts.append(f'<line class="gate" x1="{end}" x2="{end}" y1="{top - 8}" y2="{top + max(tall(kept), 12):.1f}"/>')
    parts.append(f'<text class="stage" x="{end + 4}" y="{top - 22}">store</text>')
    parts.append(f'<text class="count" x="{end + 4}" y="{top - 9}">{kept:,}</text></svg>')
    return Markup("".join(parts))


def histogram(values: Sequence[float], unit: str, bins: int = 24) -> Markup:
    """Bars of how often values occur, first and last edge written below."""
    numbers = np.asarray(values, np.float64)
    if not len(numbers):
        return Markup("")
    counts, edges = np.histogram(numbers, bins=min(bins, max(1, len(np.unique(numbers)))))
    wide, height = 480 / len(counts), 70
    bars = [
        f'<rect x="{place * wide + 1:.1f}" y="{height - height * n / counts.max():.1f}" width="{max(wide - 2, 1):.1f}" '
        f'height="{height * n / counts.max():.1f}"><title>{n} between {edges[place]:.3g} and {edges[place + 1]:.3g} '
        f"{escape(unit)}</title></rect>"
        for place, n in enumerate(counts)
    ]
    ends = (
        f'<text x="0" y="{height + 14}">{edges[0]:.3g} {escape(unit)}</text>'
        f'<text x="480" y="{height + 14}" text-anchor="end">{edges[-1]:.3g} {escape(unit)}</text>'
    )
    return Markup(f'<svg class="histogram" viewBox="0 0 480 {height + 18}">{"".join(bars)}{ends}</svg>')


def ranges(stats: Mapping[str, np.ndarray], limit: int = 32) -> Markup:
    """One mark per dimension: thin from minimum to maximum, thick from 1 % to 99 %, a dot at the median.

    All dimensions share one scale, so that one which is out of proportion is seen.
    """
    lows, highs = np.ravel(stats["min"])[:limit], np.ravel(stats["max"])[:limit]
    if not len(lows) or not np.isfinite([lows, highs]).all():
        return Markup("")
    low, high = float(lows.min()), float(highs.max())
    span = (high - low) or 1.0
    q01, q50, q99 = (np.ravel(stats.get(name, stats["mean"]))[:limit] for name in ("q01", "q50", "q99"))
    wide, height = 12, 44

    def y(value: float) -> float:
        return round(height - 3 - (height - 6) * (float(value) - low) / span, 1)

    marks = []
    for place in range(len(lows)):
        x = place * wide + wide / 2
        marks.append(f'<line class="thin" x1="{x}" x2="{x}" y1="{y(lows[place])}" y2="{y(highs[place])}"/>')
        marks.append(f'<line class="thick" x1="{x}" x2="{x}" y1="{y(q01[place])}" y2="{y(q99[place])}"/>')
        marks.append(f'<circle cx="{x}" cy="{y(q50[place])}" r="2.2"/>')
    return Markup(
        f'<svg class="ranges" viewBox="0 0 {len(lows) * wide} {height}" width="{len(lows) * wide}" height="{height}">'
        f"<title>{low:.4g} to {high:.4g}</title>{''.join(marks)}</svg>"
    )


def lines(column: np.ndarray, low: np.ndarray, high: np.ndarray, height: int = 54, points: int = 240) -> Markup:
    """`(T, D)` values over an episode, each dimension between its own `low` and `high` `(D,)` of the whole store."""
    flat = np.asarray(column, np.float64).reshape(len(column), -1)[:, : len(SERIES)]
    keep = np.unique(np.linspace(0, len(flat) - 1, min(points, len(flat))).round().astype(int))
    span = np.where(high - low > 0, high - low, 1.0)[: flat.shape[1]]
    scaled = np.clip((flat[keep] - low[: flat.shape[1]]) / span, -0.05, 1.05)
    x = 1000 * keep / max(len(flat) - 1, 1)
    drawn = []
    for place in range(flat.shape[1]):
        y = height - 4 - (height - 8) * scaled[:, place]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        drawn.append(f'<polyline style="stroke:{SERIES[place]}" points="{path}"/>')
    return Markup(f'<svg class="lines" viewBox="0 0 1000 {height}" preserveAspectRatio="none">{"".join(drawn)}</svg>')


def curve(values: Sequence[float]) -> Markup:
    """A list of numbers as one line with its first, last and best value."""
    numbers = np.asarray(values, np.float64)
    low, high = np.array([numbers.min()]), np.array([numbers.max()])
    drawn = lines(numbers[:, None], low, high, height=70)
    said = f"{numbers[0]:.4g} → {numbers[-1]:.4g} (lowest {numbers.min():.4g}, {len(numbers)} values)"
    return Markup(f'<div class="curve">{drawn}<small>{escape(said)}</small></div>')


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
