// How pictures share the stage: one alone, two or four as equals, of three or more the first large and the rest beside it.

const GAP = 10;
const CAPTION = 26;

export function keepLaidOut(stage, ratios) {
  const lay = () => arrange(stage, ratios());
  new ResizeObserver(lay).observe(stage);
  return lay;
}

function arrange(stage, ratios) {
  const count = ratios.length;
  const style = getComputedStyle(stage);
  const width = stage.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const height = stage.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  if (!count || matchMedia("(max-width: 820px)").matches) {
    stage.style.gridTemplate = "";
    return;
  }
  if (count === 3 || count > 4) {
    const beside = count - 1;
    const large = (width - GAP) * (beside > 2 ? 0.74 : 2 / 3);
    const high = Math.min(large / ratios[0] + CAPTION, height);
    const row = (high - GAP * (beside - 1)) / beside;
    stage.style.gridTemplate = `repeat(${beside}, ${row}px) / ${large}px minmax(0, 1fr)`;
    stage.style.setProperty("--rows", beside);
    return;
  }
  const columns = count === 1 ? 1 : 2;
  const rows = Math.ceil(count / columns);
  const cell = (width - GAP * (columns - 1)) / columns;
  const row = Math.min((height - GAP * (rows - 1)) / rows, cell / Math.min(...ratios) + CAPTION);
  stage.style.gridTemplate = `repeat(${rows}, ${row}px) / repeat(${columns}, minmax(0, 1fr))`;
}
