"""What speaks against a dataset leaving this machine, found before anything does.

Looks at a staged copy – exactly the files that would be sent – and reports findings: `refuse` stops the
publish, `warn` is shown and goes into the card, `tell` says what becomes readable by others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import VideoError
from dataengine.store import Store
from dataengine.video import probe
from dataengine.video.user_data import user_data

Level = Literal["refuse", "warn", "tell"]

# Folders and files that make up a dataset; anything else in a staged copy is a mistake.
EXPECTED = re.compile(r"(meta|data|videos|labels|assets)/.+|README\.md|croissant\.json|LICENSE|\.gitattributes")

SECRETS = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})"),
    "a Google key": re.compile(r"\bAIza[\w-]{35}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[\w-]{10,}"),
    "a signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{5,}\.[\w-]{10,}"),
    "an AWS key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@]+@"),
}
ABSOLUTE_PATH = re.compile(
    r"(?:(?<![\w./:])|\bfile:(?://)?)/(?:home|Users|Volumes|root|mnt|media|tmp|var|opt|data|workspace|private|scratch|nfs|net"
    r"|srv|gpfs|lustre)/[\w.-]+|\b[A-Z]:(?:\\+[\w. -]+\\|/[\w. -]+/)"
)
# Names of licences as SPDX or the Hub write them, several joined by AND; not a licence's text.
LICENCE = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}(?: AND [A-Za-z0-9][\w.+-]{0,63}){0,9}")
POSITION = re.compile(r"\b(?:gps|latitude|longitude|geolocation)\\*\"\s*:", re.I)
EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b", re.I)
LOCATION_TAGS = ("location", "com.apple.quicktime.location", "gps", "xyz")


@dataclass(frozen=True)
class Finding:
    """One thing found. where: file (and column) in the dataset."""

    level: Level
    what: str
    where: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" – {self.mend}" if self.mend else "")


def preflight(staged: Path, *, private: bool, licence: str | None) -> list[Finding]:
    """Every finding about a staged dataset, refusals first."""
    findings = [
        *_layout(staged),
        *_integrity(staged),
        *_texts(staged),
        *_videos(staged),
        *_licence(private, licence),
        *_people(staged),
    ]
    order: dict[str, int] = {"refuse": 0, "warn": 1, "tell": 2}
    return sorted(findings, key=lambda finding: order[finding.level])


def _layout(staged: Path) -> Iterator[Finding]:
    for path in _files(staged):
        name = path.relative_to(staged).as_posix()
        if path.is_symlink():
            yield Finding("refuse", "is a link; only files are published", name)
        elif not EXPECTED.fullmatch(name):
            yield Finding("refuse", "is not part of a dataset (undo history, staging, leftovers stay here)", name)


def _integrity(staged: Path) -> Iterator[Finding]:
    for problem in Store.open(staged).verify().problems:
        yield Finding("refuse", str(problem), "verify", "run `dataengine verify` on the store")


def _texts(staged: Path) -> Iterator[Finding]:
    """Every text that would be sent: JSON, Markdown, string columns and parquet's own metadata."""
    for path in _files(staged):
        name = path.relative_to(staged).as_posix()
        if path.suffix in (".json", ".jsonl", ".md", ".txt", ".yaml", ".yml", ".xml"):
            yield from _scan(path.read_text("utf-8", "replace"), name)
        elif path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            metadata = file.schema_arrow.metadata or {}
            yield from _scan(" ".join(v.decode("utf-8", "replace") for v in metadata.values()), f"{name} (metadata)")
            beside = name.startswith("labels/")  # elsewhere bytes are pictures
            columns = [f.name for f in file.schema_arrow if _holds_text(f.type, binary=beside)]
            if not columns:
                continue
            found: set[tuple[str, str]] = set()
            for batch in file.iter_batches(batch_size=2000, columns=columns):
                for column in columns:
                    text = json.dumps(
                        batch.column(column).unique().to_pylist()
                        if pa.types.is_string(batch.schema.field(column).type)
                        else batch.column(column).to_pylist(),
                        ensure_ascii=False,
                        default=str,
                    ).replace("\\\\", "\\")
                    for finding in _scan(text, f"{name} (column {column})"):
                        if (finding.what, finding.where) not in found:
                            found.add((finding.what, finding.where))
                            yield finding


def _scan(text: str, where: str) -> Iterator[Finding]:
    for what, pattern in SECRETS.items():
        if match := pattern.search(text):
            yield Finding("refuse", f"holds what looks like {what} ({match.group(0)[:6]}…)", where, "remove it")
    if match := ABSOLUTE_PATH.search(text):
        yield Finding(
            "refuse", f"holds a path of somebody's machine ({match.group(0)!r})", where, "replace it by a name"
        )
    if match := EMAIL.search(text):
        yield Finding("warn", f"holds an e-mail address ({match.group(0)})", where)
    if POSITION.search(text):
        yield Finding("warn", "says where on earth something is", where)


def _videos(staged: Path) -> Iterator[Finding]:
    for path in sorted(staged.glob("videos/**/*.mp4")):
        name = path.relative_to(staged).as_posix()
        try:
            info = probe(path)
        except VideoError as error:
            yield Finding("refuse", error.reason, name, "run `dataengine verify` on the store")
            continue
        if info.has_audio:
            yield Finding("refuse", "carries sound", name, "convert it again: sound is dropped then")
        if hidden := user_data(path):
            mend = "it may say where it was filmed; encode the videos anew"
            yield Finding("warn", f"carries a camera's own data between its pictures, in {hidden} packets", name, mend)
        for key, value in info.tags.items():
            if any(tag in key.lower() for tag in LOCATION_TAGS):
                yield Finding(
                    "refuse", f"says where it was filmed ({key})", name, "convert it again: tags are dropped then"
                )
            yield from _scan(str(value), f"{name} (tag {key})")


def _licence(private: bool, licence: str | None) -> Iterator[Finding]:
    if licence and not LICENCE.fullmatch(licence):
        yield Finding(
            "refuse", f"{licence[:60]!r} is no name of a licence", "licence", "give an SPDX name with --licence"
        )
    if licence:
        return
    mend = "say which with --licence (an SPDX name such as apache-2.0, or other)"
    yield Finding("warn" if private else "refuse", "no licence is known, so nobody may use it", "licence", mend)


def _people(staged: Path) -> Iterator[Finding]:
    operators: set[str] = set()
    for path in sorted(staged.glob("meta/episodes/*/*.parquet")):
        if "operator" in pq.read_schema(path).names:
            operators |= set(pq.read_table(path, columns=["operator"]).column("operator").drop_null().to_pylist())
    if operators:
        named = ", ".join(repr(name[:60]) for name in sorted(operators)[:5])
        yield Finding("tell", f"names who operated the robot: {named}", "meta/episodes")


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_symlink() or path.is_file())


def _holds_text(kind: pa.DataType, *, binary: bool) -> bool:
    """binary: bytes count as text as well."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    if pa.types.is_struct(kind):
        return any(_holds_text(kind.field(i).type, binary=binary) for i in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _holds_text(kind.value_type, binary=binary)
    return binary and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
