// Short tones, so that a person who looks at the robot hears what is recorded. Never the only sign of anything.

const TONES = {
  recording: [[660, 0.09], [880, 0.14]],
  review: [[880, 0.09], [587, 0.14]],
  kept: [[523, 0.08], [659, 0.08], [784, 0.16]],
  discarded: [[311, 0.1], [233, 0.18]],
  ready: [[587, 0.07], [587, 0.07]],
  odd: [[440, 0.08], [370, 0.2]],
  held: [[196, 0.16], [0, 0.06], [196, 0.16], [0, 0.06], [196, 0.2]],
  lost: [[370, 0.12], [277, 0.12], [208, 0.24]],
};
const KEEP = "teleop sound off";

export class Sound {
  constructor(button) {
    this.button = button;
    this.off = localStorage.getItem(KEEP) === "1";
    button.addEventListener("click", () => this.toggle());
    for (const kind of ["pointerdown", "keydown"]) window.addEventListener(kind, () => this.#wake(), { capture: true });
    this.#show();
  }

  toggle() {
    this.off = !this.off;
    localStorage.setItem(KEEP, this.off ? "1" : "0");
    this.#show();
    this.play("ready");
  }

  // Browsers are silent until somebody touched the page.
  #wake() {
    this.audio ??= new AudioContext();
    if (this.audio.state === "suspended") this.audio.resume();
  }

  #show() {
    this.button.textContent = this.off ? "Sound off" : "Sound on";
    this.button.setAttribute("aria-pressed", !this.off);
  }

  play(name) {
    if (this.off || this.audio?.state !== "running") return;
    let at = this.audio.currentTime + 0.01;
    for (const [pitch, length] of TONES[name] ?? []) {
      if (pitch) this.#tone(pitch, at, length);
      at += length;
    }
  }

  #tone(pitch, at, length) {
    const [tone, loud] = [this.audio.createOscillator(), this.audio.createGain()];
    tone.frequency.value = pitch;
    tone.type = "triangle";
    loud.gain.setValueAtTime(0, at);
    loud.gain.linearRampToValueAtTime(0.16, at + 0.012);
    loud.gain.exponentialRampToValueAtTime(0.001, at + length + 0.05);
    tone.connect(loud).connect(this.audio.destination);
    tone.start(at);
    tone.stop(at + length + 0.06);
  }
}
