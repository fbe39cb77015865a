// What the page's devices say, sent whole at up to 60 Hz while something is held, and once more when it is let go.
//
// A source has a name and read(now) -> {active, keys, axes, buttons}; let() makes it forget what is held.

const EVERY = 15; // at least so long between two messages of a source [ms]
export const shortest = { press: 82 }; // a tap lasts at least two beats of the session, or it might see nothing of it [ms]

export class Inputs {
  constructor(link, may) {
    this.link = link;
    this.may = may; // whether this page drives
    this.sources = [];
    this.count = 0;
    this.sent = new Map(); // by source, when what was sent [ms], to tell our echoes from another page's
    this.watchers = [];
    const beat = (now) => {
      this.#send(now, false);
      requestAnimationFrame(beat);
    };
    requestAnimationFrame(beat);
    for (const [target, kind] of [[window, "blur"], [window, "pagehide"], [document, "visibilitychange"]])
      target.addEventListener(kind, () => this.letGo());
  }

  add(source) {
    this.sources.push({ source, last: 0, live: false });
    this.sent.set(source.name, []);
  }

  // A key went down: the session shall know before the next frame is drawn.
  atOnce() {
    this.#send(performance.now(), true);
  }

  // Everything is let go, and that is said at once.
  letGo() {
    for (const { source } of this.sources) source.let?.();
    this.#send(performance.now(), true);
  }

  #send(now, atOnce) {
    for (const entry of this.sources) {
      const state = entry.source.read(now);
      if (!this.may() || !(state.active || entry.live) || (!atOnce && now - entry.last < EVERY)) continue;
      entry.live = state.active;
      entry.last = now;
      const sent = Math.round(performance.now() * 10) / 10;
      const message = { type: "input", source: entry.source.name, seq: this.count++, sent };
      for (const part of ["keys", "axes", "buttons"]) if (state[part]?.length) message[part] = state[part];
      if (!this.link.send(message)) continue;
      const times = this.sent.get(entry.source.name);
      times.push(sent);
      if (times.length > 240) times.splice(0, 120);
      for (const watcher of this.watchers) watcher(message);
    }
  }

  // How long ago the newest of our inputs that the session acted on was sent, if it is new [ms].
  lag(echo) {
    let newest = null;
    for (const [name, when] of Object.entries(echo)) {
      const times = this.sent.get(name);
      const place = times ? times.lastIndexOf(when) : -1;
      if (place < 0) continue;
      times.splice(0, place + 1);
      newest = Math.max(newest ?? -Infinity, when);
    }
    return newest === null ? null : performance.now() - newest;
  }
}

export const round = (number) => Math.round(number * 1e4) / 1e4;
