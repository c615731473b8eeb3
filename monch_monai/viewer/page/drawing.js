"use strict";
/* Outlines and dots drawn into the bitmap of a tile, step by step. */

const BITMAP = 512; // side of a bitmap, px
const AT_ONCE = 40; // nuclei in a step

/** Draws outlines some at a time: filled where nuclei are small, diameter in px of the bitmap, else with a line. */
function* drawOutlines(context, nuclei, style, diameter, times, part) {
  context.lineJoin = "round";
  for (let from = 0; from < nuclei.count; from += AT_ONCE) {
    const paths = pathsOf(nuclei, style, from, Math.min(from + AT_ONCE, nuclei.count), times, part);
    for (const [index, path] of paths) drawPath(context, path, style.colors[index], diameter);
    yield;
  }
}

/** A path for each class that is shown, of some nuclei. */
function pathsOf(nuclei, style, from, to, times, [column, line]) {
  const paths = new Map(), { points, starts, first } = nuclei, k = times / nuclei.units;
  const [dx, dy] = [column * BITMAP, line * BITMAP];
  for (let i = from; i < to; i++) {
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
  return paths;
}

function drawPath(context, path, color, diameter) {
  context.fillStyle = css(color, diameter < 9 ? 0.8 : diameter < 14 ? 0.22 : 0.14);
  context.fill(path, "evenodd");
  if (diameter < 9) return;
  if (diameter >= 14) {
    context.strokeStyle = haloOf(color);
    context.lineWidth = 4.6;
    context.stroke(path);
  }
  context.strokeStyle = css(color);
  context.lineWidth = diameter < 14 ? 1.5 : 2.3;
  context.stroke(path);
}

function* drawDots(context, dots, style, cell) {
  const image = context.createImageData(BITMAP, BITMAP), pixels = new Uint32Array(image.data.buffer);
  const packed = style.colors.map((color) => color && ((255 << 24) | (color[2] << 16) | (color[1] << 8) | color[0]) >>> 0);
  for (let i = 0; i < dots.count; i++) {
    if (!style.shown[dots.classes[i]] || dots.probs[i] < style.least) continue;
    const color = packed[dots.classes[i]], start = dots.lines[i] * cell * BITMAP + dots.columns[i] * cell;
    for (let y = 0; y < cell; y++) pixels.fill(color, start + y * BITMAP, start + y * BITMAP + cell);
  }
  context.putImageData(image, 0, 0);
}
