// What the checks say about the episode under review, and what came of the whole sitting.

import { make } from "./element.js";

const seconds = (value) => `${value.toFixed(1)} s`;

export class Review {
  constructor(verdict, summary) {
    this.verdict = verdict;
    this.summary = summary;
    this.shown = "";
  }

  show(status) {
    this.verdict.hidden = status.phase !== "review";
    this.summary.hidden = status.phase !== "done";
    const what = JSON.stringify([status.phase, status.verdict, status.kept, status.success]);
    if (what === this.shown) return;
    this.shown = what;
    if (status.phase === "review") this.verdict.replaceChildren(...verdictParts(status));
    if (status.phase === "done") this.summary.replaceChildren(...summaryParts(status));
  }
}

function verdictParts(status) {
  const { verdict } = status;
  if (!verdict || verdict.grade === null) return [make("p", "The checks are looking at it …", "soft")];
  const faults = verdict.findings.filter((finding) => finding.objective);
  const grade = Math.round(verdict.grade * 100);
  const head = make("p", "", `grade ${faults.length ? "bad" : verdict.findings.length ? "warn" : "good"}`);
  head.append(make("b", String(grade)), make("span", gradeWords(faults.length, verdict.findings.length - faults.length)));
  const length = Math.max(status.episode_seconds, ...verdict.findings.map((finding) => finding.stop), 0.1);
  const parts = [head];
  if (verdict.findings.length) parts.push(track(verdict.findings, length), findings(verdict.findings));
  const unknown = Object.entries(verdict.unknown);
  if (unknown.length) parts.push(make("p", `Not assessed: ${unknown.map(([name, why]) => `${name} (${why})`).join(", ")}`, "soft"));
  return parts;
}

function gradeWords(faults, risks) {
  if (!faults && !risks) return "of 100: nothing odd was found";
  const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  return `of 100: ${[faults && count(faults, "fault"), risks && count(risks, "risk")].filter(Boolean).join(" and ")}`;
}

// Where in the episode; said in words below, so it is for eyes alone.
function track(all, length) {
  const line = make("div", "", "track");
  line.setAttribute("aria-hidden", "true");
  for (const finding of all) {
    const mark = make("i", "", finding.objective ? "bad" : "warn");
    mark.style.left = `${(100 * finding.start) / length}%`;
    mark.style.width = `${Math.max(1.5, (100 * (finding.stop - finding.start)) / length)}%`;
    line.append(mark);
  }
  return line;
}

function findings(all) {
  const list = make("ul", "", "findings");
  list.tabIndex = all.length > 3 ? 0 : -1; // long ones scroll, by keys too
  list.setAttribute("aria-label", "What the checks found");
  for (const finding of all) {
    const item = make("li", "", finding.objective ? "bad" : "warn");
    const where = `${seconds(finding.start)} to ${seconds(finding.stop)}`;
    item.append(make("b", finding.check.replaceAll("_", " ")), make("span", where, "where"), make("span", finding.words));
    list.append(item);
  }
  return list;
}

function summaryParts(status) {
  const rate = status.kept ? `${Math.round((100 * status.successes) / status.kept)} %` : "–";
  const hours = status.seconds_kept / 3600;
  const length = hours >= 1 ? `${hours.toFixed(2)} h` : `${(status.seconds_kept / 60).toFixed(1)} min`;
  const facts = [
    [String(status.kept), `of ${status.target} episodes kept`],
    [length, "of demonstrations"],
    [rate, `successful (${status.successes})`],
    [String(status.discarded), "discarded"],
  ];
  return facts.map(([figure, words]) => {
    const tile = make("p");
    tile.append(make("b", figure), make("span", words));
    return tile;
  });
}
