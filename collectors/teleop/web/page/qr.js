// A QR code from rows of 0 and 1; dark on light in every colour scheme, or no phone reads it.

export function drawCode(canvas, rows) {
  const text = rows.join("\n");
  if (canvas.dataset.drawn === text) return;
  canvas.dataset.drawn = text;
  canvas.width = canvas.height = rows.length * 4;
  const paint = canvas.getContext("2d");
  paint.fillStyle = "#fff";
  paint.fillRect(0, 0, canvas.width, canvas.height);
  paint.fillStyle = "#000";
  rows.forEach((row, y) => [...row].forEach((cell, x) => cell === "1" && paint.fillRect(x * 4, y * 4, 4, 4)));
}
