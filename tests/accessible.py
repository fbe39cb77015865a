"""What stands in the way of somebody who does not see, hear or point well: a small checker for a page in Chromium.

Names of controls, labels, contrast from computed styles, sizes of targets, landmarks, language, live regions, ids.
`problems(page)` lists what is wrong in the state the page is in; `walk(page)` goes through it with the Tab key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from browser import Page

_CHECK = Path(__file__).with_suffix(".js").read_text().partition("\n")[2]

_FOCUSED = r"""
(() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const style = getComputedStyle(e);
  const box = e.getBoundingClientRect();
  return {
    name: e.id || e.dataset.order || e.className || e.textContent.trim().slice(0, 40),
    outline: parseFloat(style.outlineWidth) * (style.outlineStyle !== "none"),
    seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
})()
"""


def problems(page: Page, *, target: int = 24) -> list[str]:
    """target: least height of a button [px]; 44 where fingers press it."""
    found: list[str] = page.run(f"({_CHECK})({target})")
    return found


def walk(page: Page, most: int = 80) -> list[dict[str, Any]]:
    """Everything the Tab key reaches, in order: its name, the width of its outline, whether it is in view."""
    page.run("document.activeElement.blur(), scrollTo(0, 0)")
    reached: list[dict[str, Any]] = []
    for _ in range(most):
        page.key("Tab")
        now = page.run(_FOCUSED)
        if now is None or (reached and now["name"] == reached[0]["name"]):
            break
        reached.append(now)
    return reached
