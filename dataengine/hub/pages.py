"""What a browser shows at the stand-in Hub: the repositories, and one repository's card and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from dataengine.hub.objects import File, Repo

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
pre{white-space:pre-wrap;background:#f5f7fa;padding:1rem;border-radius:8px}td{padding:.15rem 1rem .15rem 0}
td:last-child{text-align:right;color:#667}a{color:#0a58ca;text-decoration:none}small{color:#667}"""


def index_page(repos: Sequence[Repo]) -> str:
    rows = "".join(
        f'<li><a href="/datasets/{escape(r.id)}">{escape(r.id)}</a> <small>{"private" if r.private else "public"}, '
        f"{len(r.commits) - 1} commits</small></li>"
        for r in repos
    )
    return _page("A Hub for rehearsals", f"<ul>{rows}</ul>" if rows else "<p>Nothing has been published here yet.</p>")


def repo_page(repo: Repo, sha: str, files: Mapping[str, File], card: str) -> str:
    rows = "".join(
        f'<tr><td><a href="/datasets/{escape(repo.id)}/resolve/{sha}/{escape(path)}">{escape(path)}</a></td>'
        f"<td>{file.size:,} B</td></tr>"
        for path, file in files.items()
    )
    tags = ", ".join(f"{escape(tag)} → {commit[:8]}" for tag, commit in sorted(repo.tags.items())) or "none"
    body = f"<p><small>commit {sha[:12]} · tags: {tags}</small></p><pre>{escape(card)}</pre><table>{rows}</table>"
    return _page(repo.id, body)


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"<h1>{escape(title)}</h1>{body}"
    )
