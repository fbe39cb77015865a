// From a status to what stands on the page. Text is set as text, and only where it changed.

import { cameraName } from "./cameras.js";
import { $, make, put } from "./element.js";
import { keyName } from "./keyboard.js";

const PHASES = {
  starting: "Starting", approach: "Going to the start", ready: "Ready", recording: "Recording", review: "Keep or discard?",
  reset: "Reset the scene", held: "Robot is held", fault: "Fault", done: "Finished",
};

export function phaseWords(status) {
  if (status.phase === "recording" && !status.recording) return status.rehearsal ? "Rehearsing" : "Not recording";
  return PHASES[status.phase] ?? status.phase;
}

export function clock(seconds) {
  const tenths = Math.floor(seconds * 10);
  return `${Math.floor(tenths / 600)}:${String(Math.floor((tenths / 10) % 60)).padStart(2, "0")}.${tenths % 10}`;
}

export function span(minutes) {
  if (minutes === null) return "–";
  if (minutes < 120) return `${Math.floor(minutes)} min`;
  return minutes < 60 * 48 ? `${(minutes / 60).toFixed(1)} h` : `${Math.floor(minutes / 1440)} days`;
}

export const sentence = (words) => words && words[0].toUpperCase() + words.slice(1);

export function showStatus(status) {
  document.body.dataset.phase = status.phase === "recording" && !status.recording ? "rehearsal" : status.phase;
  put($("phase"), phaseWords(status));
  const between = ["starting", "approach", "ready", "reset"].includes(status.phase);
  put($("clock"), clock(between ? 0 : status.episode_seconds));
  put($("kept"), String(status.kept));
  put($("target"), String(status.target));
  $("share").value = status.target ? Math.min(1, status.kept / status.target) : 0;
  put($("said"), sentence(status.said || phaseWords(status)));
  document.title = `${phaseWords(status)} · ${status.kept} of ${status.target}`;
  for (const [id, text] of [["instruction", status.instruction], ["note", status.note]])
    if (document.activeElement !== $(id) && !$(id).dataset.sent) $(id).value = text;
    else if ($(id).value === text) delete $(id).dataset.sent;
  choose($("device"), status.devices, status.device, "");
  choose($("task"), status.tasks, status.tasks.includes(status.instruction) ? status.instruction : null, "as it is");
  $("rehearse").checked = status.rehearsal;
  $("countdown").hidden = status.phase !== "reset" || status.reset_left <= 0;
  put($("left"), String(Math.ceil(status.reset_left)));
  list($("trouble"), status.trouble);
  pairs($("state"), Object.entries(status.state).map(([name, value]) => [name, value.toFixed(3)]));
  pairs($("controls"), controls(status.controls));
  showFraming(status.cameras);
}

export function showFigures(status, lag, age) {
  const figure = (id, text, poor) => {
    put($(id), text);
    $(id).classList.toggle("poor", poor);
  };
  const repeated = status.cameras.reduce((sum, camera) => sum + camera.repeated, 0);
  figure("rate", `${status.rate.toFixed(1)} of ${status.fps.toFixed(0)} Hz`, Math.abs(status.rate / status.fps - 1) > 0.02);
  figure("lag", lag === null ? "–" : `${lag.toFixed(0)} ms`, lag > 200);
  figure("age", age === null ? "–" : `${Math.max(0, age).toFixed(0)} ms`, age > 200);
  figure("late", `${status.late_ms.toFixed(1)} ms`, status.late_ms > 500 / status.fps);
  figure("missed", String(status.missed), status.missed > 0);
  figure("repeated", String(repeated), false);
  figure("disk", span(status.minutes_left), status.minutes_left !== null && status.minutes_left < 20);
  figure("actor", status.actor, false);
}

function showFraming(cameras) {
  const known = cameras.filter((camera) => camera.drift !== null);
  const far = known.filter((camera) => camera.drift >= 0.15);
  put($("drift"), known.length ? (far.length ? `· ${far.length} moved` : "· as last time") : "");
  const words = known.map((camera) => `${cameraName(camera.key)} ${(camera.drift * 100).toFixed(0)} %`);
  put($("framed"), words.length ? `Difference in framing and exposure: ${words.join(", ")}.` : "There is no earlier session to compare with.");
}

// chosen: null where the session does not say; then what a person chose last stays. none: what stands for no choice.
function choose(select, options, chosen, none) {
  const wanted = none ? ["", ...options] : chosen && !options.includes(chosen) ? [chosen, ...options] : [...options];
  const now = [...select.options].map((option) => option.value);
  if (now.join("\n") !== wanted.join("\n")) {
    const before = select.value;
    select.replaceChildren(...wanted.map((text) => new Option(text || none, text)));
    if (wanted.includes(before)) select.value = before;
  }
  if (chosen !== null && document.activeElement !== select && select.value !== chosen) select.value = chosen;
  select.closest("label").hidden = options.length < 2;
}

// One line for keys that do the same.
function controls(all) {
  const by = new Map();
  for (const [key, does] of Object.entries(all)) by.set(does, [...(by.get(does) ?? []), key.split(" ").map(keyName).join(" ")]);
  return [...by].map(([does, keys]) => [keys.join("  "), does]);
}

function list(element, lines) {
  const now = [...element.children].map((item) => item.textContent);
  element.hidden = lines.length === 0;
  if (now.join("\n") !== lines.join("\n")) element.replaceChildren(...lines.map((line) => make("li", line)));
}

// Terms stay, values change: nothing is rebuilt ten times a second.
function pairs(element, entries) {
  const now = [...element.querySelectorAll("dt")].map((term) => term.textContent);
  if (now.join("\n") !== entries.map(([term]) => term).join("\n"))
    element.replaceChildren(...entries.flatMap(([term]) => [make("dt", term), make("dd")]));
  const values = element.querySelectorAll("dd");
  entries.forEach(([, value], place) => put(values[place], value));
}
