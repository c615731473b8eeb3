"use strict";
/* Outlines in tiles by level of detail: each tile is fetched once, and drawn once into a bitmap for each setting. */

const FINEST = -4; // 16 px of a bitmap for one of level 0
const MOST_BITMAPS = 120, MOST_DATA = 400; // that stay in memory
const RESTING_MS = 12; // of drawing bitmaps in a frame; while the view moves, one step

class OutlineTiles {
  /** about: nuclei.json; changed: called when there is more to show. */
  constructor(source, about, changed) {
    Object.assign(this, { source, about, changed });
    this.data = new Map();
    this.bitmaps = new Map();
    this.style = { version: 0, colors: [], shown: [], least: 0 };
    this.wanted = [];
    this.fetching = 0;
    this.box = [];
    this.moved = 0; // when, ms
    this.drawing = null;
  }

  /** colors and shown by class index; least: mean probability in 1e-4. */
  setStyle(colors, shown, least) {
    this.style = { version: this.style.version + 1, colors, shown, least };
  }

  moves() {
    return performance.now() - this.moved < 150;
  }

  /** Level whose bitmaps are at least as fine as the screen, which has `scale` px for one of level 0. */
  levelAt(scale) {
    return Math.max(FINEST, Math.min(this.about.levels - 1, Math.floor(-Math.log2(scale) + 1e-6)));
  }

  /** Draws what is visible: bitmaps of the level, or while they are missing what coarser ones have there.
   *  Those around the view are made too, so that they are there when it moves. */
  draw(context, toScreen, box, scale) {
    const level = this.levelAt(scale), span = this.about.span * 2 ** level;
    const [width, height] = this.about.size, ring = this.moves() ? 0 : span;
    this.wanted = [];
    for (let y = Math.floor((Math.max(0, box[1] - ring)) / span); y * span < Math.min(height, box[3] + ring); y++) {
      for (let x = Math.floor((Math.max(0, box[0] - ring)) / span); x * span < Math.min(width, box[2] + ring); x++) {
        const key = `${level}/${x}_${y}`, kept = this.bitmaps.get(key);
        if (!kept || kept.version !== this.style.version) this.wanted.push([level, x, y]);
        if ((x + 1) * span <= box[0] || x * span >= box[2] || (y + 1) * span <= box[1] || y * span >= box[3]) continue;
        const [left, top] = toScreen(x * span, y * span), [right, bottom] = toScreen((x + 1) * span, (y + 1) * span);
        if (kept) {
          this.touch(this.bitmaps, key, kept);
          if (kept.canvas) context.drawImage(kept.canvas, left, top, right - left, bottom - top);
        } else this.drawCoarser(context, level, x, y, [left, top, right - left, bottom - top]);
      }
    }
    if (box.some((edge, i) => edge !== this.box[i])) this.moved = performance.now();
    this.box = box;
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

  /** Fetches what is wanted, the middle first, and draws bitmaps of it for a few milliseconds. */
  work() {
    const start = performance.now(), end = this.moves() ? 0 : start + RESTING_MS;
    let worked = false;
    do {
      if (!this.drawing || this.drawing.version !== this.style.version) this.drawing = this.next();
      if (!this.drawing) break;
      worked = true;
      const { key, version, canvas, steps } = this.drawing;
      if (steps.next().done) {
        this.touch(this.bitmaps, key, { version, canvas }, MOST_BITMAPS);
        this.drawing = null;
      }
    } while (performance.now() < end);
    if (worked) this.changed(); // also where the last bitmap is done: it is to be shown
  }

  /** The next bitmap whose data are here, to be drawn step by step; null where there is none. */
  next() {
    while (this.wanted.length) {
      const [level, x, y] = this.wanted.shift(), nuclei = this.tile(...this.dataPlace(level, x, y));
      if (nuclei) return { key: `${level}/${x}_${y}`, version: this.style.version, ...this.bitmap(nuclei, level, x, y) };
    }
    return null;
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
    if (!nuclei.count) return { canvas: null, steps: [].values() };
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = BITMAP;
    const context = canvas.getContext("2d");
    if (nuclei.columns) return { canvas, steps: drawDots(context, nuclei, this.style, this.about.cell) };
    const times = level >= 0 ? 1 : 2 ** -level;
    const part = level >= 0 ? [0, 0] : [x - ((x >> -level) << -level), y - ((y >> -level) << -level)];
    return { canvas, steps: drawOutlines(context, nuclei, this.style, this.about.diameter / 2 ** level, times, part) };
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
