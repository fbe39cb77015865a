// A phone's orientation as a quaternion, with an area to rest a finger on while the robot shall follow.
//
// The browser gives angles (W3C: Z by alpha, then X by beta, then Y by gamma, each about the turned axis); what is sent is
// x y z w. Motion sensors work in a secure page only, and on some phones after being asked for.
import { round } from "./inputs.js";

export class Phone {
  constructor(elements, say) {
    this.name = "phone";
    this.turn = null;
    this.held = { clutch: false, up: false, down: false };
    this.closed = false;
    const { sense, clutch, grip, up, down } = elements;
    sense.addEventListener("click", () => this.#ask(sense, say));
    grip.addEventListener("click", () => {
      this.closed = !this.closed;
      this.said = performance.now();
      grip.setAttribute("aria-pressed", this.closed);
      grip.textContent = this.closed ? "Open gripper" : "Close gripper";
    });
    this.elements = { clutch, up, down };
    for (const [name, element] of Object.entries(this.elements)) this.#hold(name, element);
  }

  async #ask(sense, say) {
    const Event = window.DeviceOrientationEvent;
    if (!window.isSecureContext || !Event) return say("Motion sensors need the secure address: use the QR code.");
    const answer = Event.requestPermission ? await Event.requestPermission().catch(() => "denied") : "granted";
    if (answer !== "granted") return say("The browser does not give the motion sensors to this page.");
    window.addEventListener("deviceorientation", (event) => {
      if (event.alpha === null) return;
      this.turn = quaternion(event.alpha, event.beta, event.gamma);
      sense.textContent = "This phone’s motion is used";
    });
    sense.textContent = "Waiting for the sensors";
  }

  #hold(name, element) {
    const set = (held) => {
      this.held[name] = held;
      element.classList.toggle("held", held);
      if (name === "clutch") element.setAttribute("aria-pressed", held);
    };
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      set(true);
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(kind, () => set(false));
    element.addEventListener("keydown", (event) => (event.code === "Space" || event.code === "Enter") && set(true));
    element.addEventListener("keyup", () => set(false));
    element.addEventListener("blur", () => set(false));
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  read(now) {
    const { clutch, up, down } = this.held;
    return {
      active: clutch || up || down || now - this.said < 150,
      axes: (this.turn ?? [0, 0, 0, 1]).map(round),
      buttons: [+clutch, +this.closed, +up, +down],
    };
  }

  let() {
    for (const name of Object.keys(this.held)) {
      this.held[name] = false;
      this.elements[name].classList.remove("held");
    }
    this.elements.clutch.setAttribute("aria-pressed", false);
  }
}

// Degrees to x y z w.
export function quaternion(alpha, beta, gamma) {
  const half = (degrees) => (degrees * Math.PI) / 360;
  const [cz, sz] = [Math.cos(half(alpha)), Math.sin(half(alpha))];
  const [cx, sx] = [Math.cos(half(beta)), Math.sin(half(beta))];
  const [cy, sy] = [Math.cos(half(gamma)), Math.sin(half(gamma))];
  return [
    cz * sx * cy - sz * cx * sy,
    cz * cx * sy + sz * sx * cy,
    sz * cx * cy + cz * sx * sy,
    cz * cx * cy - sz * sx * sy,
  ];
}
