"use strict";
/* What each key does. */

const move = (x, y) => {
  view.viewport.panBy(new OpenSeadragon.Point(x, y).times(view.viewport.getBounds().width / 6));
};
const zoom = (times) => {
  view.viewport.zoomBy(times);
  view.viewport.applyConstraints();
};
const setOpacity = (value) => {
  state.opacity = Math.min(100, Math.max(0, value));
  restyle();
};
const setLeast = (value) => {
  state.least = Math.min(10000, Math.max(0, Math.round(value)));
  restyle();
};
const KEYS = {
  ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => home(false),
  "[": () => setOpacity(state.opacity - 10), "]": () => setOpacity(state.opacity + 10),
  ",": () => setLeast(state.least - 500), ".": () => setLeast(state.least + 500),
  " ": () => {
    state.visible = !state.visible;
    overlay.later();
  },
  t: () => setTissue(!state.tissueShown), c: () => byId("palette").click(), r: () => setDrawing(true), Escape: () => setDrawing(false),
  n: () => neighbour(1), p: () => neighbour(-1),
};

document.addEventListener("keydown", (event) => {
  const steps = /^(Arrow|Page|Home|End)/.test(event.key) && event.target.closest("input[type=range]");
  const own = steps || (event.key === " " && event.target.closest("button, input, summary"));
  if (event.ctrlKey || event.metaKey || event.altKey || own || !state.about) return;
  const digit = /^[1-9]$/.test(event.key) ? state.about.classes[Number(event.key) - 1] : null;
  const act = digit ? () => toggleClass(digit.index) : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
