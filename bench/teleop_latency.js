// Trials of input to photon, run in the page. Each: wait until the picture is still, press, count until it is not, let go.
// scale: pixels a side compared; threshold: difference of a colour, 0 to 255, that counts as an answer. Gives [ms] each.
async (trials, keys, scale, threshold) => {
  const canvas = document.querySelector("canvas");
  const small = new OffscreenCanvas(scale, scale).getContext("2d", { willReadFrequently: true });
  const look = () => (small.drawImage(canvas, 0, 0, scale, scale), small.getImageData(0, 0, scale, scale).data);
  const differs = (a, b) => {
    let most = 0;
    for (let n = 0; n < a.length; n++) most = Math.max(most, Math.abs(a[n] - b[n]));
    return most;
  };
  const frame = () => new Promise(requestAnimationFrame);
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const press = (kind, code) => window.dispatchEvent(new KeyboardEvent(kind, { code, key: code, bubbles: true }));
  const photon = [];
  for (let trial = 0; trial < trials; trial++) {
    for (let tries = 0; tries < 12; tries++) {
      const before = look();
      await rest(250);
      if (differs(look(), before) < threshold / 2) break;
    }
    await rest(100 * Math.random()); // no fixed place within the loop's beat
    const code = keys[trial % keys.length];
    const still = look();
    const begin = performance.now();
    press("keydown", code);
    while (performance.now() - begin < 1500 && differs(look(), still) < threshold) await frame();
    const took = performance.now() - begin;
    if (took < 1500) photon.push(took);
    await rest(120);
    press("keyup", code);
    await rest(300);
  }
  return photon;
}
