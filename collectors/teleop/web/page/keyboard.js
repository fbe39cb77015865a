// Held keys, by their place on the board (KeyboardEvent.code), and the keys that are orders.
//
// A tap is held on for a moment, so that the session surely sees it.
//
// Typing stays typing: in a text field, a list or a slider nothing is taken but Escape. A button that was reached with
// Tab is pressed with Space or Enter as everywhere; otherwise Space is the pedal.

import { shortest } from "./inputs.js";

const ORDERS = {
  Space: "next", PageDown: "next", KeyB: "next",
  Delete: "discard", Backspace: "discard", PageUp: "discard",
  Digit1: "success", Digit2: "failure", Digit3: "flag", Digit4: "redo", Digit5: "undo",
  Digit6: "takeover", Digit7: "handback", Digit8: "home", KeyM: "mute",
};
const QUIET = /^(Tab|Enter|NumpadEnter|Escape|ContextMenu|CapsLock|F\d+|(Meta|OS|Control|Alt).*|Audio.*|Media.*)$/;
const SCROLLS = /^(Arrow.*|Space|Page.*|Home|End|Slash|Quote|Backspace)$/;

// order(name): what an order key means. taken(): codes that drive the robot and so are no orders. inputs: to say at once
// that a key went down, or that all are let go.
export class Keyboard {
  constructor(order, taken, inputs) {
    const letGo = () => inputs.letGo();
    this.name = "keyboard";
    this.held = new Map(); // since when, and until when for those that are up again [ms]
    window.addEventListener("keydown", (event) => this.#down(event, order, taken, inputs), { capture: true });
    window.addEventListener("keyup", (event) => this.#up(event.code), { capture: true });
    document.addEventListener("focusin", (event) => typed(event.target) && this.held.size && letGo());
  }

  read(now) {
    for (const [code, press] of this.held) if (now >= press.until) this.held.delete(code);
    return { active: this.held.size > 0, keys: [...this.held.keys()].sort().slice(0, 32) };
  }

  #up(code) {
    const press = this.held.get(code);
    if (press) press.until = press.since + shortest.press;
  }

  let() {
    this.held.clear();
  }

  #down(event, order, taken, inputs) {
    const letGo = () => inputs.letGo();
    if (event.code === "Escape") {
      event.preventDefault();
      letGo();
      if (!event.repeat) order("estop");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return letGo();
    if (typed(event.target)) return;
    const pressed = event.target.closest?.("button, summary, a");
    if (pressed && (event.code === "Space" || event.code === "Enter")) return;
    const meant = ORDERS[event.code];
    if (meant && !taken().has(event.code)) {
      event.preventDefault();
      if (!event.repeat) order(meant);
    } else if (!QUIET.test(event.code) && event.code.length <= 32) {
      if (SCROLLS.test(event.code)) event.preventDefault();
      const known = this.held.get(event.code);
      if (known) known.until = Infinity;
      else {
        this.held.set(event.code, { since: performance.now(), until: Infinity });
        inputs.atOnce();
      }
    }
  }
}

export const typed = (element) => element instanceof HTMLElement && element.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");

// "KeyW" is W, "ArrowUp" ↑, for people.
const NAMES = {
  ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Space: "Space", ShiftLeft: "Shift", ShiftRight: "Shift",
  Comma: ",", Period: ".", Slash: "/", Semicolon: ";", Quote: "'", BracketLeft: "[", BracketRight: "]", Minus: "-", Equal: "=",
};
export const keyName = (code) => NAMES[code] ?? code.replace(/^(Key|Digit)(?=.$)/, "");
