"use strict";
/* Tiles of outlines and of dots, as `OutlineTiles.tile` of the server writes them. */

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
