// Elements of the page: found, filled only where that changes something, made.

export const $ = (id) => document.getElementById(id);

export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function make(kind, text = "", style = "") {
  const element = document.createElement(kind);
  if (text) element.textContent = text;
  if (style) element.className = style;
  return element;
}
