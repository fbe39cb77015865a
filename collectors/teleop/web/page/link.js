// The connection to the session's server: the token, one WebSocket, and getting it back when it breaks.

const PROTOCOL = "dataengine.teleop";
const KEEP = "teleop token";
const TAB = "teleop tab";
const SILENCE = 3500; // nothing heard for so long: the connection is taken for broken [ms]

// The token comes in the address once, and is moved where neither a screenshot nor the history shows it.
export function token() {
  const address = new URL(location.href);
  const given = address.searchParams.get("token");
  if (given) {
    sessionStorage.setItem(KEEP, given);
    address.searchParams.delete("token");
    history.replaceState(null, "", address.pathname + address.search);
  }
  return sessionStorage.getItem(KEEP);
}

// What this tab calls itself, so that it finds its seat again after a broken connection.
function tab() {
  const name = sessionStorage.getItem(TAB) ?? crypto.getRandomValues(new Uint32Array(3)).join("-");
  sessionStorage.setItem(TAB, name);
  return name;
}

// handlers: message(object), picture(ArrayBuffer), open(), lost(words, seconds until the next try).
export class Link {
  constructor(handlers) {
    this.handlers = handlers;
    this.offset = null; // from this page's clock to the server's [ms]
    this.trip = null; // the shortest way there and back of late [ms]
    this.tries = 0;
    this.heard = 0;
    setInterval(() => this.#look(), 1000);
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  connect() {
    const secret = token();
    if (!secret) {
      this.handlers.lost("Open the address that is printed in the terminal; this one lacks its token.", null);
      return;
    }
    clearTimeout(this.again);
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/socket`, [PROTOCOL, `token.${secret}`]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heard = performance.now();
    socket.onopen = () => {
      this.tries = 0;
      this.trip = null;
      this.send({ type: "hello", tab: tab() });
      this.#ping();
      this.handlers.open();
    };
    socket.onmessage = (event) => {
      this.heard = performance.now();
      if (typeof event.data !== "string") this.handlers.picture(event.data);
      else this.#take(JSON.parse(event.data));
    };
    socket.onclose = (event) => this.#broken(socket, event.reason);
  }

  // No more tries: there is nobody to come back to.
  rest() {
    clearTimeout(this.again);
  }

  send(message) {
    if (!this.open || this.socket.bufferedAmount > 65536) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  #take(message) {
    if (message.type !== "pong") return this.handlers.message(message);
    const now = performance.now();
    const trip = now - message.sent;
    if (this.trip === null || trip <= this.trip * 1.1 + 1) {
      this.trip = trip;
      this.offset = message.clock + trip / 2 - now;
    } else this.trip += 0.5; // clocks drift apart: an old best is forgotten slowly
  }

  #ping() {
    this.send({ type: "ping", sent: performance.now() });
  }

  #look() {
    if (!this.open) return;
    if (performance.now() - this.heard > SILENCE && !document.hidden) {
      const socket = this.socket;
      socket.close();
      this.#broken(socket, "");
    } else this.#ping();
  }

  #broken(socket, reason) {
    if (socket !== this.socket) return;
    this.socket = null;
    const seconds = Math.min(10, 0.5 * 2 ** this.tries) * (0.8 + 0.4 * Math.random());
    this.tries += 1;
    this.again = setTimeout(() => this.connect(), seconds * 1000);
    this.handlers.lost(reason, seconds);
  }
}
