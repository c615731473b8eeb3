"use strict";
/* The place that the page shows, as the part of its address after #: a link that reopens it. */

/** What a hash states, as text by name. */
function readPlace(hash) {
  return Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
}

/** center: px of level 0; scale: px of the page for one of level 0. */
function placeOf(state, center, scale) {
  const off = state.about.classes.filter((c) => !state.shown[c.index]).map((c) => c.name);
  const place = {
    result: state.about.name, x: center.x.toFixed(1), y: center.y.toFixed(1), scale: scale.toPrecision(5),
    off: off.join(","), opacity: state.opacity === OPACITY ? "" : state.opacity, least: state.least ? state.least / 1e4 : "",
    tissue: state.tissueShown ? "1" : "", palette: state.safe ? "safe" : "",
    region: state.region ? state.region.map((p) => p.map((v) => Math.round(v * 10) / 10).join(" ")).join(",") : "",
  };
  return new URLSearchParams(Object.entries(place).filter(([, value]) => value !== "")).toString();
}

/** Puts what a place states into the state; what it leaves out is as at the beginning. */
function takePlace(state, place) {
  const off = (place.off || "").split(",");
  for (const c of state.about.classes) state.shown[c.index] = !off.includes(c.name);
  state.opacity = within(place.opacity, 0, 100, OPACITY);
  state.least = Math.round(within(place.least, 0, 1, 0) * 1e4);
  state.tissueShown = place.tissue === "1";
  state.safe = place.palette === "safe";
  const points = (place.region || "").split(",").map((p) => p.split(" ").map(Number));
  state.region = points.length > 2 && points.every((p) => p.length === 2 && p.every(Number.isFinite)) ? points : null;
}

function within(text, least, most, otherwise) {
  const number = Number.parseFloat(text);
  return Number.isFinite(number) ? Math.min(most, Math.max(least, number)) : otherwise;
}

function writePlace(text) {
  try {
    history.replaceState(null, "", `#${text}`);
  } catch {
    location.replace(`#${text}`); // pages from disk, in some browsers
  }
}
