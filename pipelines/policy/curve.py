"""The loss of a run as a picture: an SVG any browser shows, without a plotting library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, MARGIN = 720, 360, 52


def read_losses(path: Path) -> list[dict[str, float]]:
    """The rows of a loss.jsonl; a torn last line, as a killed run leaves, is not one."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def draw_losses(rows: list[dict[str, float]], target: Path) -> None:
    """Loss over steps on a logarithmic axis: every step in grey, an average over 2 % of the run in blue."""
    step = np.array([row["step"] for row in rows], float)
    loss = np.maximum([row["loss"] for row in rows], 1e-9)
    span = max(1, len(rows) // 50)
    padded = np.concatenate([np.full(span - 1, loss[0]), loss])
    smooth = np.convolve(padded, np.full(span, 1 / span), mode="valid")
    low, high = np.log10(loss.min()), np.log10(loss.max())
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)

    def x(s: np.ndarray) -> np.ndarray:
        return MARGIN + s / max(step[-1], 1) * (WIDTH - 2 * MARGIN)

    def y(value: np.ndarray) -> np.ndarray:
        return HEIGHT - MARGIN - (np.log10(value) - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    def line(values: np.ndarray, colour: str, width: float) -> str:
        keep = np.unique(np.linspace(0, len(step) - 1, min(len(step), 1500)).astype(int))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x(step)[keep], y(values)[keep], strict=True))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    text = 'font-family="sans-serif" font-size="12" fill="#444"'
    marks = []
    for value in 10 ** np.linspace(low, high, 5):
        at = float(y(np.array(value)))
        marks.append(f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        marks.append(f'<text x="{MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end" {text}>{value:.3g}</text>')
    for value in np.linspace(0, step[-1], 5):
        at = float(x(np.array(value)))
        marks.append(f'<text x="{at:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle" {text}>{value:.0f}</text>')
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f'<title>Training loss</title><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{"".join(marks)}'
        f"{line(loss, '#bbb', 0.7)}{line(smooth, '#1f6feb', 2)}"
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle" {text}>step</text>'
        f'<text x="{MARGIN}" y="{MARGIN - 16}" {text}>training loss</text></svg>\n'
    )
