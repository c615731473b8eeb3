"use strict";
/* A region drawn by hand, and its counts as CSV. */

/** Points of a line that differ by at least `least`. */
function thinned(points, least) {
  const kept = [];
  for (const p of points) {
    const last = kept[kept.length - 1];
    if (!last || Math.hypot(p[0] - last[0], p[1] - last[1]) >= least) kept.push(p);
  }
  return kept;
}

/** Rows of a region's counts: a row a class, then all. */
function regionRows(state) {
  const { about, region, table, least } = state;
  const counts = table.inPolygon(region, least), mm2 = areaOf(region) * about.mpp[0] * about.mpp[1] * 1e-6;
  const total = about.classes.reduce((sum, c) => sum + counts[c.index], 0);
  const row = (name, count) => ({
    picture: about.file, class: name, nuclei: count, "nuclei per mm2": (count / mm2).toFixed(2),
    share: total ? (count / total).toFixed(4) : "", "area mm2": mm2.toFixed(6), "least mean_prob": (least / 1e4).toFixed(2),
    "region px": region.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("; "),
  });
  return [...about.classes.map((c) => row(c.name, counts[c.index])), row("all", total)];
}

/** Rows as CSV (RFC 4180). */
function csvOf(rows) {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  return [Object.keys(rows[0]), ...rows.map(Object.values)].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function save(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Draws a region while the pointer is down; finish is called with its points, px of level 0. */
class Lasso {
  constructor(stage, toImage, state, changed, finish) {
    Object.assign(this, { stage, toImage, state, changed, finish });
    this.points = null;
    const capture = { capture: true };
    stage.addEventListener("pointerdown", (event) => this.down(event), capture);
    stage.addEventListener("pointermove", (event) => this.move(event), capture);
    stage.addEventListener("pointerup", (event) => this.up(event), capture);
  }

  on(active) {
    this.active = active;
    this.points = null;
    this.stage.classList.toggle("drawing", active);
  }

  down(event) {
    if (!this.active || event.button !== 0 || !event.target.closest("#picture")) return;
    event.stopPropagation();
    event.preventDefault();
    this.points = [this.toImage(event)];
  }

  move(event) {
    if (!this.points) return;
    event.stopPropagation();
    this.points.push(this.toImage(event));
    this.state.region = this.points;
    this.changed();
  }

  up(event) {
    if (!this.points) return;
    event.stopPropagation();
    const points = this.points;
    this.on(false);
    this.finish(points);
  }
}
