"use strict";
/* Colours of classes: those of the result's own class table, or a set that colour-blind people can separate. */

/** Okabe and Ito (2008), without black, and lighter and darker companions for tables of more classes. */
const SAFE = [
  [213, 94, 0], [86, 180, 233], [240, 228, 66], [0, 158, 115], [204, 121, 167], [0, 114, 178], [230, 159, 0],
  [255, 196, 160], [190, 225, 247], [110, 80, 20], [120, 220, 190], [90, 40, 80],
];

/** Colour [r, g, b] of the class at a place in the table. */
function colorOf(classes, place, safe) {
  return safe ? SAFE[place % SAFE.length] : classes[place].color;
}

function css(color, alpha = 1) {
  return `rgb(${color[0]} ${color[1]} ${color[2]} / ${alpha})`;
}

/** What a line of this colour is laid on, so that it can be seen on haematoxylin and on glass. */
function haloOf([r, g, b]) {
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 110 ? "rgb(30 16 50 / 0.6)" : "rgb(255 255 255 / 0.75)";
}
