"use strict";
/* All nuclei of a slide as arrays, and how many of each class lie in a part of it. */

class NucleusTable {
  /** buffer: places in thousandths of px int32, mean probabilities in 1e-4 uint16, classes uint8. */
  constructor(buffer, total) {
    this.total = total;
    this.places = new Int32Array(buffer, 0, 2 * total);
    this.probs = new Uint16Array(buffer, 8 * total, total);
    this.classes = new Uint8Array(buffer, 10 * total, total);
  }

  /** Counts by class index of all nuclei whose probability is at least `least`, in 1e-4. */
  whole(least) {
    if (!this.last || this.last.least !== least) {
      this.last = { least, counts: this.inBox([-Infinity, -Infinity, Infinity, Infinity], least) };
    }
    return this.last.counts;
  }

  /** Counts by class index of nuclei within [left, top, right, bottom) whose probability is at least `least`. */
  inBox([left, top, right, bottom], least) {
    const counts = new Uint32Array(256), { places, probs, classes } = this;
    const [x0, y0, x1, y1] = [left, top, right, bottom].map((v) => v * 1000);
    for (let i = 0, n = this.total; i < n; i++) {
      const x = places[2 * i], y = places[2 * i + 1];
      if (x >= x0 && x < x1 && y >= y0 && y < y1 && probs[i] >= least) counts[classes[i]]++;
    }
    return counts;
  }

  /** The same within a polygon [[x, y], ...], px of level 0. */
  inPolygon(polygon, least) {
    const counts = new Uint32Array(256), [left, top, right, bottom] = boxOf(polygon);
    for (let i = 0; i < this.total; i++) {
      const x = this.places[2 * i] / 1000, y = this.places[2 * i + 1] / 1000;
      const near = x >= left && x <= right && y >= top && y <= bottom && this.probs[i] >= least;
      if (near && isInside(x, y, polygon)) counts[this.classes[i]]++;
    }
    return counts;
  }
}

function boxOf(polygon) {
  const xs = polygon.map((p) => p[0]), ys = polygon.map((p) => p[1]);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** Whether a point lies inside a polygon, by the even-odd rule. */
function isInside(x, y, polygon) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) inside = !inside;
  }
  return inside;
}

/** Area of a polygon, in the square of its unit. */
function areaOf(polygon) {
  let twice = 0;
  polygon.forEach(([x, y], i) => {
    const [u, v] = polygon[(i + 1) % polygon.length];
    twice += x * v - u * y;
  });
  return Math.abs(twice) / 2;
}
