// The live pictures: one figure per camera, the newest picture drawn as soon as it is there, and acknowledged.

import { keepLaidOut } from "./layout.js";
import { put } from "./element.js";

const LIVE = 1;
const TEXT = new TextDecoder();

// watch(canvas): a new picture to drag on.
export class Cameras {
  constructor(stage, link, watch) {
    this.stage = stage;
    this.link = link;
    this.watch = watch;
    this.figures = new Map();
    this.seen = {};
    this.ages = []; // of the last pictures that were drawn [ms]
    this.faint = 0; // how strongly the last session's picture lies over the live one
    this.asked = false;
    this.lay = keepLaidOut(stage, () => [...this.figures.values()].map((made) => made.canvas.width / made.canvas.height));
    const beat = () => {
      if (Object.keys(this.seen).length && link.send({ type: "seen", numbers: this.seen })) this.seen = {};
      requestAnimationFrame(beat);
    };
    requestAnimationFrame(beat);
  }

  // One message of the server: kind, length of the name, number, when it was seen there, name, JPEG.
  async take(buffer) {
    const view = new DataView(buffer);
    const [kind, length] = [view.getUint8(0), view.getUint8(1)];
    const [number, when] = [view.getUint32(4, true), view.getFloat64(8, true)];
    const key = TEXT.decode(new Uint8Array(buffer, 16, length));
    const jpeg = new Uint8Array(buffer, 16 + length);
    const figure = this.figures.get(key) ?? this.#add(key);
    if (kind !== LIVE) return this.#draw(figure.reference, jpeg);
    try {
      const drawn = await this.#draw(figure.canvas, jpeg, () => number >= figure.number);
      if (drawn) figure.number = number;
      if (drawn && this.link.offset !== null) {
        this.ages.push(performance.now() + this.link.offset - when);
        if (this.ages.length > 90) this.ages.splice(0, 30);
      }
    } finally {
      this.seen[key] = Math.max(number, this.seen[key] ?? 0);
    }
  }

  async #draw(canvas, jpeg, wanted = () => true) {
    if (!jpeg.length) return false;
    const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (wanted()) {
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
        [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
        canvas.parentElement.style.setProperty("--ratio", bitmap.width / bitmap.height);
        this.lay();
      }
      canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    }
    bitmap.close();
    return true;
  }

  #add(key) {
    const figure = document.createElement("figure");
    const frame = document.createElement("div");
    const [canvas, reference] = [document.createElement("canvas"), document.createElement("canvas")];
    const caption = document.createElement("p");
    const [name, facts] = [document.createElement("b"), document.createElement("span")];
    const words = cameraName(key);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Live picture of the camera ${words}`);
    reference.setAttribute("aria-hidden", "true");
    reference.className = "reference";
    frame.className = "frame";
    put(name, words);
    caption.append(name, facts);
    frame.append(canvas, reference, caption);
    figure.append(frame);
    this.stage.append(figure);
    this.stage.dataset.count = this.figures.size + 1;
    const made = { figure, canvas, reference, facts, number: 0 };
    this.figures.set(key, made);
    this.watch(canvas);
    this.lay();
    this.overlay(this.faint);
    return made;
  }

  // A new connection counts anew.
  restart() {
    for (const figure of this.figures.values()) figure.number = 0;
    this.seen = {};
    this.asked = false;
  }

  show(cameras) {
    const known = new Set(cameras.map((camera) => camera.key));
    for (const [key, made] of this.figures) {
      if (known.has(key)) continue;
      made.figure.remove();
      this.figures.delete(key);
      this.stage.dataset.count = this.figures.size;
      this.lay();
    }
    for (const camera of cameras) {
      const made = this.figures.get(camera.key) ?? this.#add(camera.key);
      const parts = [`${camera.rate.toFixed(1)} Hz`];
      if (camera.repeated) parts.push(`${camera.repeated} repeated`);
      if (camera.waiting > 2) parts.push(`${camera.waiting} waiting`);
      put(made.facts, parts.join(" · "));
    }
  }

  overlay(faint) {
    this.faint = faint;
    if (faint > 0 && !this.asked) this.asked = this.link.send({ type: "reference" });
    for (const { reference } of this.figures.values()) reference.style.opacity = faint;
  }

  // The age of a picture when it is drawn, in the middle of the last ones [ms].
  age() {
    if (!this.ages.length) return null;
    const sorted = [...this.ages].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }
}

export const cameraName = (key) => key.replace(/^observation\.(images?\.)?/, "").replaceAll("_", " ");
