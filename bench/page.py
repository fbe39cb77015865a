"""The benchmark as one page, Markdown and HTML with plots, made of the result files; nothing is measured here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from bench.results import RESULTS

TITLE = "Beside LeRobot 0.6.1"
INTRO = (
    "Ratios of this engine to stock LeRobot 0.6.1 on the same frames, both run in turns by one program on one machine. "
    "A ratio of 10 means ten times as fast, or a tenth of the time. The dashed mark is what is demanded."
)


@dataclass(frozen=True)
class Line:
    """One comparison: how many times better than LeRobot, the target, and both figures in words."""

    what: str
    ratio: float
    target: float | None
    ours: str
    theirs: str


@dataclass(frozen=True)
class Section:
    """What one result file says."""

    title: str
    about: str
    result: dict[str, Any]
    lines: list[Line]
    notes: list[str]


def sections() -> Iterator[Section]:
    """Those whose result file is there."""
    for name, make in (
        ("writing", _writing),
        ("reading", _reading),
        ("streaming", _streaming),
        ("editing", _editing),
        ("opening", _opening),
        ("appending", _appending),
        ("convert_v21", _conversion),
        ("codecs", _codecs),
    ):
        path = RESULTS / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            title, about, lines, notes = make(result["figures"])
            yield Section(title, about, result, lines, notes)


Part = tuple[str, str, list[Line], list[str]]


def _middle(turns: list[dict[str, float]], key: str) -> float:
    return sorted(turn[key] for turn in turns)[len(turns) // 2]


def _writing(f: dict[str, Any]) -> Part:
    turns, lines = f["turns"], []
    for key, other, name in (
        ("over_create", "create", "create() as it comes"),
        ("over_streaming", "streaming", "streaming_encoding"),
        ("over_fastest", "fastest", "its fastest mode"),
    ):
        words = [f"{_middle(turns[n], 'rows_per_second'):.0f} rows/s" for n in ("ours", other)]
        lines.append(Line(f"append, against {name}", f[key], f["targets"].get(key), *words))
    pictures = [
        f"{name} {_middle(turns[n], 'bytes_per_picture'):.0f} B at {_middle(turns[n], 'psnr_db'):.2f} dB"
        for n, name in (("ours", "here"), ("create", "create()"), ("streaming", "streaming"), ("fastest", "fastest"))
    ]
    notes = [
        f"A picture takes: {', '.join(pictures)}.",
        f"CPU is {f['cpu_of_bare']:.2f} of encoding alone (at most {f['targets']['cpu_of_bare']:g}); peak memory "
        f"{f['peak_rss_mib']:.0f} MiB, LeRobot's {_middle(turns['create'], 'peak_rss_mib'):.0f}.",
    ]
    about = "10 × 200 rows, two cameras of 256×256, 14 numbers of state and action, from arrays; every episode durable."
    return "Writing", about, lines, notes


def _reading(f: dict[str, Any]) -> Part:
    from bench.reading import COMPARED

    rates = {name: sorted(turns)[len(turns) // 2] for name, turns in f["samples_per_second"].items()}
    lines = [
        Line(
            name.replace("_", " "),
            ratio,
            f["targets"].get(name),
            f"{rates[COMPARED[name][0]]:.0f}/s",
            f"{rates[COMPARED[name][1]]:.0f}/s",
        )
        for name, ratio in f["ratios"].items()
        if "bare" not in name
    ]
    notes = [
        f"{f['ratios']['stream_over_bare_decoder']:.2f} of what decoding alone reaches with as many threads. Rank "
        f"correlation of the order {f['rank_correlation']}, {f['episodes_per_batch']} episodes a batch of 32, first "
        f"batch after {f['seconds_to_first_batch']} s, peak memory {f['peak_rss_mib']:.0f} MiB."
    ]
    return "Reading for training", "Shuffled batches of 32, chunks of 16 actions, two cameras of 256×256.", lines, notes


def _streaming(f: dict[str, Any]) -> Part:
    minutes = f["resident_mib_by_minute"]
    notes = [
        f"Resident memory after the first minute {minutes[1]:.0f} MiB, in the last of {f['minutes']} "
        f"{minutes[-1]:.0f} MiB; {f['samples_per_second']} samples a second, first batch after {f['first_batch_s']} s."
    ]
    return "A long stream", f"24 × 200 frames, epoch after epoch, a buffer of {f['buffer_mib']} MiB.", [], notes


def _editing(f: dict[str, Any]) -> Part:
    s = f["seconds"]
    lines = [
        Line(
            "delete one episode", f["delete_times_faster"], 50, f"{s['delete']:.2f} s", f"{s['delete_lerobot']:.0f} s"
        ),
        Line(
            "add a label (add_features)",
            f["add_label_times_faster"],
            50,
            f"{s['add_label']:.3f} s",
            f"{s['add_feature_lerobot']:.2f} s",
        ),
    ]
    notes = [
        f"Adding a column takes {f['add_column_of_bare_rewrite']:.2f} of rewriting the files that change (at most "
        f"1.5), merging with a thousand other episodes {f['merge_of_bare_rewrite']:.2f}, and "
        f"{f['merge_of_bare_rewrite_with_a_file_per_video']:.2f} where each of their 2000 videos is a file to link."
    ]
    return "Editing", "A dataset of 1000 episodes; stock LeRobot reads the same rows afterwards.", lines, notes


def _opening(f: dict[str, Any]) -> Part:
    lines = [
        Line(
            f"open {f['episodes']:,} episodes",
            f["open_lerobot_s"] / f["open_s"],
            None,
            f"{f['open_s']:.2f} s, {f['open_peak_mib']:.0f} MiB",
            f"{f['open_lerobot_s']:.1f} s, {f['open_lerobot_peak_mib']:.0f} MiB",
        ),
        Line(
            "first picture of a new process",
            f["first_picture_lerobot_s"] / f["first_picture_s"],
            None,
            f"{f['first_picture_s']:.2f} s",
            f"{f['first_picture_lerobot_s']:.1f} s",
        ),
    ]
    notes = [f"Importing the package takes {f['import_s'] * 1000:.0f} ms, the first row {f['first_row_s']:.2f} s."]
    return "Opening", "Medians over new processes.", lines, notes


def _appending(f: dict[str, Any]) -> Part:
    notes = [
        f"`save` takes {f['save_ms_p50']} ms (95 of 100 at most {f['save_ms_p95']} ms; demanded {f['target_ms']:g}), "
        f"and {f['fsync_ms_p50']} ms to put it on the disk. While recording, `add` takes {f['add_ms_p50']} ms, 99 of "
        f"100 frames come less than {f['frames_late_ms_p99']} ms late."
    ]
    about = "The end of a recording of 60 s with three cameras of 640×480, encoded while it happened."
    return "Recording", about, [], notes


def _conversion(f: dict[str, Any]) -> Part:
    lines = [
        Line(
            f"{f[name]['frames_per_episode']:.0f} frames an episode",
            1 / f[name]["share_of_lerobot_writer"],
            1 / f["target"],
            f"{f[name]['cpu_ms_per_episode']['ours']:.0f} ms",
            f"{f[name]['cpu_ms_per_episode']['lerobot_writer']:.0f} ms",
        )
        for name in f["reached"]
    ]
    notes = [
        "LeRobot's own script for it copies videos too, neither looks at nor checks anything, and takes "
        + " and ".join(f"{f[name]['cpu_ms_per_episode']['lerobot_script']:.0f} ms" for name in f["reached"])
        + " of CPU an episode."
    ]
    return "Conversion v2.1 → v3.0", "CPU of an episode, copied and checked, against writing it anew.", lines, notes


def _codecs(f: dict[str, Any]) -> Part:
    lines = []
    for content, against in f["default_against_lerobots"].items():
        for key, what in (("write_ms", "write"), ("stream_ms", "stream"), ("fetch_ms", "fetch at random")):
            words = [
                next(v[content] for n, v in f["per_frame"].items() if who in n) for who in ("here", "LeRobot's default")
            ]
            lines.append(Line(f"{content}: {what}", 1 / against[key], None, *(f"{w[key]:.2f} ms" for w in words)))
    notes = [
        f"{content}: {against['bytes']:.2f} of the bytes at {against['psnr_gained_db']:+.2f} dB."
        for content, against in f["default_against_lerobots"].items()
    ]
    return "The default codec", "CPU of a picture, against LeRobot's default.", lines, notes


def markdown(parts: list[Section]) -> str:
    text = [f"# {TITLE}", "", INTRO, ""]
    for part in parts:
        text += [f"## {part.title}", "", f"{part.about} {_when(part)}", ""]
        if part.lines:
            text += ["| what | times better | demanded | here | LeRobot |", "|---|---|---|---|---|"]
            text += [
                f"| {line.what} | {line.ratio:.1f} | {'' if line.target is None else f'{line.target:g}'} | {line.ours} "
                f"| {line.theirs} |"
                for line in part.lines
            ]
            text.append("")
        text += [*part.notes, ""]
    return "\n".join(text)


def _when(part: Section) -> str:
    return f"({part.result['date']}; {part.result['machine']}; `{part.result['command']}`)"


def html(parts: list[Section]) -> str:
    body = [f"<h1>{escape(TITLE)}</h1><p>{escape(INTRO)}</p>"]
    for part in parts:
        body.append(f"<h2>{escape(part.title)}</h2><p>{escape(part.about)}</p>")
        if part.lines:
            body.append(bars(part.lines))
        body += [f"<p>{escape(note)}</p>" for note in part.notes]
        body.append(f"<p class='when'>{escape(_when(part))}</p>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(TITLE)}</title><style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def bars(lines: list[Line]) -> str:
    """How many times better, on a logarithmic scale that begins at a third."""
    most = max([10, *(line.ratio for line in lines), *(line.target or 1 for line in lines)])
    wide, row, left = 760, 26, 300

    def x(ratio: float) -> float:
        return left + (wide - left - 250) * math.log(max(ratio, 0.34) * 3) / math.log(most * 3)

    tall = row * len(lines) + 22
    parts = [f'<svg viewBox="0 0 {wide} {tall}" role="img"><title>times better than LeRobot</title>']
    for mark in (1, 10, 100, 1000):
        if mark <= most:
            parts.append(f'<line class="grid" x1="{x(mark):.0f}" x2="{x(mark):.0f}" y1="0" y2="{tall - 18}"/>')
            parts.append(f'<text class="tick" x="{x(mark):.0f}" y="{tall - 4}" text-anchor="middle">{mark}×</text>')
    for place, line in enumerate(lines):
        y = place * row + 4
        kind = "bar" if line.target is None or line.ratio >= line.target else "bar short"
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(line.what)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{left}" y="{y}" width="{max(x(line.ratio) - left, 1):.0f}" height="18"/>'
        )
        if line.target is not None:
            at = f"{x(line.target):.0f}"
            parts.append(f'<line class="target" x1="{at}" x2="{at}" y1="{y - 2}" y2="{y + 20}"/>')
        said = f"{line.ratio:.1f}×  ({line.ours} / {line.theirs})"
        parts.append(f'<text x="{x(line.ratio) + 6:.0f}" y="{y + 13}">{escape(said)}</text>')
    return "".join(parts) + "</svg>"


_STYLE = """
:root{--ink:#1b1f24;--paper:#fff;--soft:#667;--bar:#2f7d5b;--short:#b3541e;--grid:#ddd}
@media(prefers-color-scheme:dark){
:root{--ink:#e8e8e8;--paper:#15181c;--soft:#99a;--bar:#4fb286;--short:#e08a4f;--grid:#333}}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:var(--ink);background:var(--paper)}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}.tick{fill:var(--soft)}
.bar{fill:var(--bar)}.bar.short{fill:var(--short)}.grid{stroke:var(--grid)}
.target{stroke:var(--ink);stroke-dasharray:3 2;stroke-width:1.5}.when{color:var(--soft);font-size:.8rem}
"""


def main() -> list[Path]:
    """Write both files; where they are."""
    parts = list(sections())
    made = [RESULTS / "page.md", RESULTS / "page.html"]
    made[0].write_text(markdown(parts))
    made[1].write_text(html(parts))
    return made


if __name__ == "__main__":
    main()
