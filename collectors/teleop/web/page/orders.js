// Everything a person can want, by button, key, pedal or gamepad: one way to the session for all of them.

import { $, put } from "./element.js";

const NEXT = {
  ready: ["next", "Start recording"], recording: ["next", "Stop"], review: ["next", "Keep"],
  reset: ["next", "Scene is ready"], held: ["release", "Release the robot"], fault: ["keep", "Keep what there is"],
};
const SURE = 4000; // so long a second press means yes [ms]

export class Orders {
  // say(words): for the live region. acted(): after a press with the pointer the focus goes back to driving.
  constructor(link, sound, say) {
    this.link = link;
    this.sound = sound;
    this.say = say;
    this.status = null;
    this.wasOpen = false; // whether there was an episode when the robot was held
    for (const button of document.querySelectorAll("button[data-order]"))
      button.addEventListener("click", (event) => this.#pressed(button, event));
    $("next").addEventListener("click", (event) => this.#pressed($("next"), event));
    for (const id of ["instruction", "note"]) this.#text(id);
    for (const id of ["device", "task"])
      $(id).addEventListener("change", () => this.give(id, { text: $(id).value }) && $(id).blur());
    $("rehearse").addEventListener("change", () => this.give("rehearse", { on: $("rehearse").checked }));
  }

  give(name, more = {}) {
    const sent = this.link.send({ type: "order", name, ...more });
    if (!sent) this.say("Not connected: nothing was done.");
    return sent;
  }

  // What a key, pedal or gamepad means.
  key(name) {
    if (name === "mute") return this.sound.toggle();
    if (name === "next" || name === "estop") return this.give(name);
    const button = document.querySelector(`button[data-order="${name}"]`);
    if (button && !this.#refused(button)) this.#carryOut(button);
  }

  #pressed(button, event) {
    if (event.detail > 0) button.blur(); // by pointer: Space is the pedal again
    if (button.id === "next") {
      const order = this.#next();
      if (order && !this.#refused(button)) this.give(order[0]);
    } else if (!this.#refused(button)) this.#carryOut(button);
  }

  #carryOut(button) {
    const name = button.dataset.order;
    if (button.dataset.sure && !button.dataset.asked) return this.#askAgain(button);
    this.#forget(button);
    this.give(name, name === "flag" ? { on: !this.status?.flagged } : {});
  }

  #refused(button) {
    if (button.getAttribute("aria-disabled") !== "true") return false;
    const words = button.querySelector("span")?.textContent;
    this.say(document.body.dataset.seat === "driving" ? `Not now: ${words}.` : "Another page drives; take control first.");
    return true;
  }

  // What cannot be taken back wants a second press; that works for fingers, keys and screen readers alike.
  #askAgain(button) {
    const label = button.querySelector("span");
    button.dataset.asked = label.textContent;
    put(label, button.dataset.sure);
    this.say(`${button.dataset.sure} Press again.`);
    setTimeout(() => this.#forget(button), SURE);
  }

  #forget(button) {
    if (!button.dataset.asked) return;
    put(button.querySelector("span"), button.dataset.asked);
    delete button.dataset.asked;
  }

  #text(id) {
    const field = $(id);
    const send = () => {
      field.dataset.sent = "1";
      this.give(id === "note" ? "note" : "instruct", { text: field.value });
      setTimeout(() => delete field.dataset.sent, 1000);
    };
    field.addEventListener("change", send);
    field.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && field.blur());
  }

  // Whether there is an episode that something can be said of.
  #open() {
    const { phase, success } = this.status ?? {};
    if (phase === "held" || phase === "fault") return this.wasOpen || success !== null;
    return phase === "recording" || phase === "review";
  }

  #next() {
    const phase = this.status?.phase;
    return phase === "fault" && !this.#open() ? null : NEXT[phase];
  }

  show(status) {
    this.status = status;
    if (status.phase !== "held" && status.phase !== "fault") this.wasOpen = this.#open();
    const drives = document.body.dataset.seat === "driving";
    const step = this.#next();
    const [, words] = step ?? [null, "Please wait"];
    const rehearsing = status.rehearsal && status.phase === "ready";
    const next = $("next");
    put(next.querySelector("span"), rehearsing ? "Start rehearsing" : words);
    next.querySelector("kbd").hidden = step?.[0] !== "next";
    next.setAttribute("aria-disabled", !drives || !step);
    for (const button of document.querySelectorAll("button[data-when]")) {
      const { order } = button.dataset;
      const now = button.dataset.when.split(" ").includes(status.phase);
      const can = order === "undo" ? status.kept > 0 : !("open" in button.dataset) || this.#open();
      button.setAttribute("aria-disabled", !(drives && now && can));
    }
    const pressed = { flag: status.flagged, success: status.success === true, failure: status.success === false };
    for (const [order, on] of Object.entries(pressed))
      document.querySelector(`button[data-order="${order}"]`).setAttribute("aria-pressed", on);
    for (const id of ["instruction", "device", "task", "rehearse"]) $(id).disabled = !drives;
    $("note").disabled = !drives || !this.#open();
  }
}
