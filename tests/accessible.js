// The checks of accessible.py, run in the page: (target) => what is wrong, in words.
(target) => {
  const wrong = [];
  const say = (element, what) => wrong.push(`${where(element)}: ${what}`);
  const where = (e) => e.id ? `#${e.id}` : `${e.tagName.toLowerCase()}${e.dataset?.order ? `[${e.dataset.order}]` : ""} “${(e.textContent || "").trim().slice(0, 30)}”`;
  const shown = (e) => e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !e.closest(".unseen");
  const text = (ids) => ids.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const name = (e) => (e.getAttribute("aria-label") || (e.getAttribute("aria-labelledby") && text(e.getAttribute("aria-labelledby")))
    || [...(e.labels ?? [])].map((label) => label.innerText).join(" ") || (e.matches("input, select") ? "" : e.textContent)).trim();
  const luminance = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const colour = (words) => { const n = words.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => [0, 1, 2].map((n) => top[n] * top[3] + under[n] * (1 - top[3]));
  const behind = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const c = colour(getComputedStyle(at).backgroundColor);
      layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };

  if (!document.documentElement.lang) wrong.push("html: no language");
  if (!document.title.trim()) wrong.push("no title");
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not exactly one h1");
  for (const [what, count] of [["header", 1], ["main", 1], ["footer", 1], ["[role=status]", 1]])
    if (document.querySelectorAll(what).length < count) wrong.push(`no ${what}`);
  if (!document.querySelector("[role=alert]")) wrong.push("no alert region");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) wrong.push(`two elements #${id}`);
  if (document.documentElement.scrollWidth > innerWidth + 1) wrong.push(`the page is wider than its window: ${document.documentElement.scrollWidth}`);

  for (const e of document.querySelectorAll("button, input, select, textarea, a[href], summary, [tabindex], [role=img], section, [role=group]")) {
    if (!shown(e)) continue;
    if (e.matches("section, [role=group]") ? !e.getAttribute("aria-label") : !name(e)) say(e, "has no name");
    if (e.tabIndex > 0) say(e, "jumps the order of focus");
    if (e.closest("[aria-hidden=true]")) say(e, "is hidden from screen readers but can be reached");
    for (const attribute of ["aria-pressed", "aria-disabled"])
      if (e.hasAttribute(attribute) && !["true", "false"].includes(e.getAttribute(attribute))) say(e, `${attribute} says nothing`);
    if (e.matches("button, select, summary, input")) {
      const box = (e.closest("label.switch") ?? e).getBoundingClientRect();
      const least = e.matches("summary, input[type=range], input") ? 24 : target;
      if (box.width && (box.height < least - 0.5 && !e.matches("input[type=range]") || box.width < 24)) say(e, `is only ${box.width.toFixed(0)}×${box.height.toFixed(0)}`);
    }
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !shown(e) || e.matches("option, script, noscript, .skip")) continue;
    contrast(e, colour(getComputedStyle(e).color));
  }
  for (const e of document.querySelectorAll("input, select")) if (shown(e) && !e.matches("[type=range], [type=checkbox]")) contrast(e, colour(getComputedStyle(e).color));
  function contrast(e, ink) {
    const ground = behind(e);
    const [a, b] = [luminance(over(ink, ground)), luminance(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const style = getComputedStyle(e);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) say(e, `contrast ${ratio.toFixed(2)}`);
  }
  return [...new Set(wrong)];
}
