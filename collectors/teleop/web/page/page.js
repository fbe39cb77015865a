// The page of one sitting: what the session tells goes to the screen, what a person does goes to the session.

import { Cameras } from "./cameras.js";
import { $, put } from "./element.js";
import { Gamepad } from "./gamepad.js";
import { Inputs, shortest } from "./inputs.js";
import { Keyboard } from "./keyboard.js";
import { Link } from "./link.js";
import { Orders } from "./orders.js";
import { Phone } from "./phone.js";
import { Pointer, Touch } from "./pointer.js";
import { drawCode } from "./qr.js";
import { sentence, showFigures, showStatus } from "./show.js";
import { Sound } from "./sound.js";
import { Review } from "./verdict.js";

const figures = { lag: [], inputs: 0 }; // for whoever measures this page
globalThis.teleop = { figures };

let status = null;
let lag = null;
const drives = () => document.body.dataset.seat === "driving";
const say = (words) => put($("said"), words);

const sound = new Sound($("mute"));
const review = new Review($("verdict"), $("summary"));
const link = new Link({
  open() {
    $("lost").hidden = true;
    cameras.restart();
    cameras.overlay(cameras.faint);
  },
  lost(words, seconds) {
    if ($("lost").hidden && status && status.phase !== "done") sound.play("lost");
    document.body.dataset.seat = "lost";
    put($("seat"), "Not connected");
    $("ask").hidden = $("asked").hidden = true;
    const over = status?.phase === "done";
    if (over) link.rest();
    const again = over || seconds === null ? "" : ` Trying again in ${Math.max(1, Math.round(seconds))} s.`;
    const why = words ? `${sentence(words)}.`.replace("..", ".") : "No connection to the session; the robot is held.";
    put($("lost"), over ? "The sitting has ended. You can close this page." : why + again);
    $("lost").classList.toggle("bad", !over);
    $("lost").hidden = false;
    inputs.letGo();
    if (status) orders.show(status);
  },
  picture: (buffer) => cameras.take(buffer),
  message(message) {
    if (message.type === "status") show(message);
    else if (message.type === "seat") seat(message);
    else if (message.type === "refused") say(`Refused: ${message.words}.`);
  },
});

const orders = new Orders(link, sound, say);
const inputs = new Inputs(link, drives);
const [pointer, touch] = [new Pointer(), new Touch()];
const order = (name) => (drives() || name === "estop" || name === "mute" ? orders.key(name) : say("Another page drives; take control first."));
const taken = () => new Set(Object.keys(status?.controls ?? {}).flatMap((keys) => keys.split(/[^A-Za-z0-9]+/)));
const gamepad = new Gamepad((name) => drives() && orders.key(name));
for (const source of [
  new Keyboard(order, taken, inputs),
  pointer,
  gamepad,
  touch,
  new Phone({ sense: $("sense"), clutch: $("clutch"), grip: $("grip"), up: $("up"), down: $("down") }, say),
])
  inputs.add(source);
const cameras = new Cameras($("drive"), link, (canvas) => {
  pointer.watch(canvas);
  touch.watch(canvas);
});

$("overlay").addEventListener("input", () => cameras.overlay($("overlay").value / 100));
$("overlay").addEventListener("pointerup", () => $("overlay").blur());
$("ask").addEventListener("click", () => link.send({ type: "seat", want: "take" }));
$("give").addEventListener("click", () => link.send({ type: "seat", want: "give" }));
$("stay").addEventListener("click", () => link.send({ type: "seat", want: "keep" }));
for (const button of document.querySelectorAll("button:not(.pad)"))
  button.addEventListener("click", (event) => event.detail > 0 && button.blur());
const fingers = matchMedia("(pointer: coarse)");
fingers.addEventListener("change", () => ($("motion").hidden = !fingers.matches));
$("motion").hidden = !fingers.matches;
if (matchMedia("(max-width: 820px), (max-height: 700px)").matches) $("keys").open = false;

function show(now) {
  const before = status;
  status = now;
  shortest.press = 2000 / status.fps + 15;
  const newest = inputs.lag(status.echo);
  if (newest !== null) {
    figures.lag.push(newest);
    if (figures.lag.length > 2000) figures.lag.splice(0, 1000);
    lag = lag === null ? newest : 0.7 * lag + 0.3 * newest;
  }
  const said = before?.said === status.said && before?.phase === status.phase ? $("said").textContent : null;
  showStatus(status);
  if (said !== null) say(said); // what the page itself said stays until the session says something new
  showFigures(status, lag, cameras.age());
  cameras.show(status.cameras);
  orders.show(status);
  review.show(status);
  if (status.device === "phone") $("motion").hidden = false;
  if (before) sound.play(heard(before, status));
}

// Which change is worth a tone, if any.
function heard(before, now) {
  if (now.kept > before.kept) return "kept";
  if (now.discarded > before.discarded) return "discarded";
  const graded = before.verdict?.grade === null && now.verdict && now.verdict.grade !== null;
  if (graded && now.verdict.findings.some((finding) => finding.objective)) return "odd";
  if (now.phase === before.phase) return "";
  if (now.phase === "fault") return "held";
  return now.phase === "ready" && before.phase !== "reset" ? "" : now.phase;
}

function seat(now) {
  const others = now.pages - 1;
  document.body.dataset.seat = now.driving ? "driving" : "watching";
  const watched = others ? `, ${others} watch${others === 1 ? "es" : ""}` : "";
  const driven = now.driver === null ? "Nobody drives" : `Page ${now.driver} drives`;
  put($("seat"), now.driving ? `You drive${watched}` : now.asking === now.page ? "Asked to drive …" : `Watching: ${driven.toLowerCase()}`);
  $("ask").hidden = now.driving || now.asking === now.page;
  put($("ask"), now.driver === null ? "Take control" : "Ask to drive");
  $("asked").hidden = !(now.driving && now.asking !== null);
  put($("asked").querySelector("span"), `Page ${now.asking} asks to drive.`);
  $("phone").hidden = !now.phone;
  if (now.phone) {
    drawCode($("code"), now.phone.rows);
    put($("print"), now.phone.print);
  }
  if (status) orders.show(status);
}

link.connect();
