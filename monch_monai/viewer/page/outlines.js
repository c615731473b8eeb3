"use strict";
/* Outlines in tiles by level of detail: each tile is fetched once, and drawn once into a bitmap for each setting. */

const BITMAP = 512; // side of a bitmap, px
const FINEST = -4; // 16 px of a bitmap for one of level 0
const MOST_BITMAPS = 120, MOST_DATA = 400; // that stay in memory
const BUDGET_MS = 9; // of drawing bitmaps in a frame

class OutlineTiles {
  /** about: nuclei.json; changed: called when there is more to show. */
  constructor(source, about, changed) {
    Object.assign(this, { source, about, changed });
    this.data = new Map();
    this.bitmaps = new Map();
    this.style = { version: 0, colors: [], shown: [], least: 0 };
    this.wanted = [];
    this.fetching = 0;
  }

  /** colors and shown by class index; least: mean probability in 1e-4. */
  setStyle(colors, shown, least) {
    this.style = { version: this.style.version + 1, colors, shown, least };
  }

  /** Level whose bitmaps are at least as fine as the screen, which has `scale` px for one of level 0. */
  levelAt(scale) {
    return Math.max(FINEST, Math.min(this.about.levels - 1, Math.floor(-Math.log2(scale) + 1e-6)));
  }

  /** Draws what is visible: bitmaps of the level, or while they are missing what coarser ones have there. */
  draw(context, toScreen, box, scale) {
    const level = this.levelAt(scale), span = this.about.span * 2 ** level;
    this.wanted = [];
    for (let y = Math.max(0, Math.floor(box[1] / span)); y * span < box[3]; y++) {
      for (let x = Math.max(0, Math.floor(box[0] / span)); x * span < box[2]; x++) {
        const kept = this.bitmaps.get(`${level}/${x}_${y}`);
        if (!kept || kept.version !== this.style.version) this.wanted.push([level, x, y]);
        const [left, top] = toScreen(x * span, y * span), [right, bottom] = toScreen((x + 1) * span, (y + 1) * span);
        if (kept) {
          this.touch(this.bitmaps, `${level}/${x}_${y}`, kept);
          if (kept.canvas) context.drawImage(kept.canvas, left, top, right - left, bottom - top);
        } else this.drawCoarser(context, level, x, y, [left, top, right - left, bottom - top]);
      }
    }
    const [cx, cy] = [(box[0] + box[2]) / 2 / span - 0.5, (box[1] + box[3]) / 2 / span - 0.5];
    this.wanted.sort((a, b) => Math.hypot(a[1] - cx, a[2] - cy) - Math.hypot(b[1] - cx, b[2] - cy));
    this.work();
  }

  drawCoarser(context, level, x, y, place) {
    for (let up = 1; up < 6; up++) {
      const kept = this.bitmaps.get(`${level + up}/${x >> up}_${y >> up}`), side = BITMAP / 2 ** up;
      if (!kept) continue;
      const left = (x - ((x >> up) << up)) * side, top = (y - ((y >> up) << up)) * side;
      if (kept.canvas) context.drawImage(kept.canvas, left, top, side, side, ...place);
      return;
    }
  }

  /** Fetches and draws what is wanted, the middle first, for a few milliseconds. */
  work() {
    const end = performance.now() + BUDGET_MS;
    let drawn = 0;
    while (this.wanted.length && performance.now() < end) {
      const [level, x, y] = this.wanted.shift(), key = `${level}/${x}_${y}`;
      const data = this.tile(...this.dataPlace(level, x, y));
      if (!data) continue;
      this.touch(this.bitmaps, key, { version: this.style.version, canvas: this.bitmap(data, level, x, y) }, MOST_BITMAPS);
      drawn++;
    }
    if (drawn) this.changed();
  }

  /** The tile of data that a bitmap is drawn from: there are none finer than level 0. */
  dataPlace(level, x, y) {
    return level >= 0 ? [level, x, y] : [0, x >> -level, y >> -level];
  }

  /** A tile's nuclei; null while it is fetched. */
  tile(level, x, y) {
    const key = `${level}/${x}_${y}`, known = this.data.get(key);
    if (known) {
      this.touch(this.data, key, known);
      return known.nuclei;
    }
    if (this.fetching < 8) {
      this.fetching++;
      const waiting = { nuclei: null };
      this.touch(this.data, key, waiting, MOST_DATA);
      this.source.outlines(level, x, y).then((buffer) => {
        waiting.nuclei = level >= this.about.dotsFrom ? dotsOf(buffer) : outlinesOf(buffer, this.about.units);
      }).catch(() => this.data.delete(key)).finally(() => {
        this.fetching--;
        this.changed();
      });
    }
    return null;
  }

  touch(map, key, value, most = Infinity) {
    map.delete(key);
    map.set(key, value);
    if (map.size > most) map.delete(map.keys().next().value);
  }

  bitmap(nuclei, level, x, y) {
    if (!nuclei.count) return null;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = BITMAP;
    const context = canvas.getContext("2d");
    if (nuclei.columns) drawDots(context, nuclei, this.style, this.about.cell);
    else {
      const times = level >= 0 ? 1 : 2 ** -level;
      const part = level >= 0 ? [0, 0] : [x - ((x >> -level) << -level), y - ((y >> -level) << -level)];
      drawOutlines(context, nuclei, this.style, this.about.diameter / 2 ** level, times, part);
    }
    return canvas;
  }

  /** The nucleus at a point, px of level 0, as {row, class, rings}; null where there is none, or its tile is on its way. */
  at(px, py, scale) {
    const level = Math.max(0, Math.min(this.levelAt(scale), this.about.dotsFrom - 1));
    const span = this.about.span * 2 ** level, x = Math.floor(px / span), y = Math.floor(py / span);
    const nuclei = this.tile(level, x, y);
    if (!nuclei || nuclei.columns) return null;
    const pixel = 2 ** level, at = [(px - x * span) / pixel, (py - y * span) / pixel];
    for (let i = nuclei.count - 1; i >= 0; i--) {
      if (!this.style.shown[nuclei.classes[i]] || nuclei.probs[i] < this.style.least) continue;
      const rings = ringsOf(nuclei, i);
      if (rings.filter((ring) => isInside(...at, ring)).length % 2) {
        const exact = rings.map((ring) => ring.map(([u, v]) => [x * span + u * pixel, y * span + v * pixel]));
        return { row: nuclei.rows[i], class: nuclei.classes[i], rings: exact };
      }
    }
    return null;
  }
}

function outlinesOf(buffer, units) {
  const [count, rings, points] = new Uint32Array(buffer, 0, 3);
  let at = 12;
  const take = (type, length) => {
    const array = new type(buffer, at, length);
    at += array.byteLength;
    return array;
  };
  const nuclei = {
    count, units,
    rows: take(Uint32Array, count), ofNucleus: take(Uint32Array, rings), lengths: take(Uint32Array, rings),
    points: take(Int16Array, 2 * points), probs: take(Uint16Array, count), classes: take(Uint8Array, count),
  };
  nuclei.starts = new Uint32Array(rings + 1); // of rings, in points
  nuclei.first = new Uint32Array(count + 1); // ring of each nucleus
  for (let i = 0; i < rings; i++) {
    nuclei.starts[i + 1] = nuclei.starts[i] + nuclei.lengths[i];
    nuclei.first[nuclei.ofNucleus[i] + 1] = i + 1;
  }
  for (let i = 1; i <= count; i++) nuclei.first[i] = Math.max(nuclei.first[i], nuclei.first[i - 1]);
  return nuclei;
}

function dotsOf(buffer) {
  const [count] = new Uint32Array(buffer, 0, 1);
  return {
    count, probs: new Uint16Array(buffer, 4, count), columns: new Uint8Array(buffer, 4 + 2 * count, count),
    lines: new Uint8Array(buffer, 4 + 3 * count, count), classes: new Uint8Array(buffer, 4 + 4 * count, count),
  };
}

function ringsOf(nuclei, i) {
  const rings = [];
  for (let r = nuclei.first[i]; r < nuclei.first[i + 1]; r++) {
    const ring = [];
    for (let p = nuclei.starts[r]; p < nuclei.starts[r + 1]; p++) {
      ring.push([nuclei.points[2 * p] / nuclei.units, nuclei.points[2 * p + 1] / nuclei.units]);
    }
    rings.push(ring);
  }
  return rings;
}

/** A path for each class that is shown: filled where nuclei are small, diameter in px of the bitmap, else a line. */
function drawOutlines(context, nuclei, style, diameter, times, [column, line]) {
  const paths = new Map(), { points, starts, first } = nuclei, k = times / nuclei.units;
  const [dx, dy] = [column * BITMAP, line * BITMAP];
  for (let i = 0; i < nuclei.count; i++) {
    const index = nuclei.classes[i];
    if (!style.shown[index] || nuclei.probs[i] < style.least) continue;
    if (!paths.has(index)) paths.set(index, new Path2D());
    const path = paths.get(index);
    for (let r = first[i]; r < first[i + 1]; r++) {
      for (let p = starts[r]; p < starts[r + 1]; p++) {
        const x = points[2 * p] * k - dx, y = points[2 * p + 1] * k - dy;
        if (p === starts[r]) path.moveTo(x, y);
        else path.lineTo(x, y);
      }
      path.closePath();
    }
  }
  context.lineJoin = "round";
  for (const [index, path] of paths) {
    const color = style.colors[index];
    context.fillStyle = css(color, diameter < 7 ? 0.85 : diameter < 14 ? 0.22 : 0.14);
    context.fill(path, "evenodd");
    if (diameter < 7) continue;
    if (diameter >= 14) {
      context.strokeStyle = haloOf(color);
      context.lineWidth = 4.6;
      context.stroke(path);
    }
    context.strokeStyle = css(color);
    context.lineWidth = diameter < 14 ? 1.5 : 2.3;
    context.stroke(path);
  }
}

function drawDots(context, dots, style, cell) {
  const image = context.createImageData(BITMAP, BITMAP), pixels = new Uint32Array(image.data.buffer);
  const packed = style.colors.map((color) => color && ((255 << 24) | (color[2] << 16) | (color[1] << 8) | color[0]) >>> 0);
  for (let i = 0; i < dots.count; i++) {
    if (!style.shown[dots.classes[i]] || dots.probs[i] < style.least) continue;
    const color = packed[dots.classes[i]], start = dots.lines[i] * cell * BITMAP + dots.columns[i] * cell;
    for (let y = 0; y < cell; y++) pixels.fill(color, start + y * BITMAP, start + y * BITMAP + cell);
  }
  context.putImageData(image, 0, 0);
}
