// The first gamepad of the browser, asked once a frame: browsers tell nothing of sticks by events.
import { round } from "./inputs.js";

const REST = 0.08; // sticks never quite rest
const ORDERS = { 9: "next", 8: "discard" }; // Start and Back of the standard mapping

export class Gamepad {
  constructor(order) {
    this.name = "gamepad";
    this.order = order;
    this.down = new Set();
    this.found = "";
  }

  read() {
    const pad = [...(navigator.getGamepads?.() ?? [])].find((one) => one?.connected);
    this.found = pad?.id ?? "";
    if (!pad || document.hidden) return { active: false, axes: [], buttons: [] };
    const axes = [...pad.axes].slice(0, 16).map((value) => (Math.abs(value) < REST ? 0 : round(value)));
    const buttons = [...pad.buttons].slice(0, 32).map((button) => round(button.value));
    for (const [place, name] of Object.entries(ORDERS)) {
      const pressed = buttons[place] > 0.5;
      if (pressed && !this.down.has(place)) this.order(name);
      if (pressed) this.down.add(place);
      else this.down.delete(place);
    }
    return { active: axes.some(Boolean) || buttons.some((value) => value > 0.05), axes, buttons };
  }
}
