// Drags and wheel on a camera picture with a mouse or pen; with fingers, drags and pinches.
//
// x grows to the right and y downwards, in widths of the picture as it is shown; wheel and pinch: one notch is 0.1, away
// from you and apart are positive. All are summed up since the page was opened.
import { round, shortest } from "./inputs.js";

const LINGER = 150; // so long a turn of the wheel counts as held [ms]

export class Pointer {
  constructor() {
    this.name = "pointer";
    this.sum = [0, 0, 0];
    this.buttons = this.pressed = 0;
    this.since = this.turned = -Infinity;
  }

  watch(canvas) {
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      this.at = [event.clientX, event.clientY];
      this.buttons = this.pressed = event.buttons;
      this.since = performance.now();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch" || !this.buttons) return;
      const width = canvas.clientWidth || 1;
      this.sum[0] += (event.clientX - this.at[0]) / width;
      this.sum[1] += (event.clientY - this.at[1]) / width;
      this.at = [event.clientX, event.clientY];
      this.buttons = event.buttons;
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(kind, (event) => event.pointerType !== "touch" && (this.buttons = kind === "pointerup" ? event.buttons : 0));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey) return;
      event.preventDefault();
      this.sum[2] -= (event.deltaY * [1, 33, 400][event.deltaMode]) / 1000;
      this.turned = performance.now();
    }, { passive: false });
  }

  read(now) {
    const click = now - this.since < shortest.press ? this.pressed : 0;
    const b = this.buttons | click; // the browser counts left, right, middle
    return {
      active: b > 0 || now - this.turned < LINGER,
      axes: this.sum.map(round),
      buttons: [b & 1, (b >> 2) & 1, (b >> 1) & 1],
    };
  }

  let() {
    this.buttons = this.pressed = 0;
  }
}

export class Touch {
  constructor() {
    this.name = "touch";
    this.sum = [0, 0, 0];
    this.fingers = new Map();
    this.since = -Infinity;
  }

  watch(canvas) {
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "touch") return;
      canvas.setPointerCapture(event.pointerId);
      if (!this.fingers.size) this.since = performance.now();
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = this.fingers.get(event.pointerId);
      if (!before) return;
      const width = canvas.clientWidth || 1;
      const apart = this.#apart();
      const share = this.fingers.size; // with two fingers both move: the middle of them counts
      this.sum[0] += (event.clientX - before[0]) / width / share;
      this.sum[1] += (event.clientY - before[1]) / width / share;
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
      this.sum[2] += (this.#apart() - apart) / width;
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(kind, (event) => this.fingers.delete(event.pointerId));
  }

  #apart() {
    const [a, b] = this.fingers.values();
    return a && b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  }

  read(now) {
    const fingers = this.fingers.size || +(now - this.since < shortest.press);
    return { active: fingers > 0, axes: this.sum.map(round), buttons: [+(fingers === 1), +(fingers >= 2)] };
  }

  let() {
    this.fingers.clear();
    this.since = -Infinity;
  }
}
