"use strict";
/* The canvas over the picture: outlines, tissue, the region, the nucleus under the pointer; and the scale bar. */

const TISSUE = "rgb(91 63 140 / 0.9)", REGION = "#26232e";

class Overlay {
  /** state: of the page; view: the OpenSeadragon viewer. */
  constructor(canvas, view, state) {
    Object.assign(this, { canvas, view, state });
    this.context = canvas.getContext("2d");
    this.pending = false;
  }

  /** Screen px, of this canvas's own, for one px of level 0. */
  get scale() {
    const image = this.view.world.getItemAt(0);
    return image ? image.viewportToImageZoom(this.view.viewport.getZoom(true)) * this.ratio : 1;
  }

  get ratio() {
    return window.devicePixelRatio || 1;
  }

  /** What is visible: left, top, right and bottom, px of level 0. */
  box() {
    const image = this.view.world.getItemAt(0);
    if (!image) return [0, 0, 0, 0];
    const { x, y, width, height } = image.viewportToImageRectangle(this.view.viewport.getBounds(true));
    return [x, y, x + width, y + height];
  }

  /** Draws soon: while the view moves, it is drawn anyway, so that only what follows is. */
  later() {
    if (this.pending) return;
    this.pending = true;
    const draw = () => {
      this.pending = false;
      this.draw();
    };
    const moves = this.state.outlines && this.state.outlines.moves();
    if (moves) setTimeout(draw, 100);
    else requestAnimationFrame(draw);
  }

  draw() {
    const { canvas, context, state, ratio } = this;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.clearRect(0, 0, width, height);
    if (!state.about || !this.view.world.getItemAt(0)) return;
    const box = this.box(), scale = this.scale;
    const toScreen = (x, y) => [(x - box[0]) * scale, (y - box[1]) * scale];
    const [w, h] = state.about.size, part = state.about.part || [0, 0, w, h];
    if (state.outlines && state.visible) {
      context.save();
      context.beginPath();
      context.rect(...toScreen(part[0], part[1]), part[2] * scale, part[3] * scale);
      context.clip();
      context.globalAlpha = state.opacity / 100;
      const seen = [Math.max(box[0], 0), Math.max(box[1], 0), Math.min(box[2], w), Math.min(box[3], h)];
      state.outlines.draw(context, toScreen, seen, scale);
      context.restore();
    }
    if (state.tissueShown) this.lines(state.tissue || [], toScreen, TISSUE, 1.6, [7, 4]);
    if (state.region) this.lines([[...state.region, state.region[0]]], toScreen, REGION, 1.8);
    if (state.hovered) this.lines(state.hovered.rings.map((r) => [...r, r[0]]), toScreen, css(state.colors[state.hovered.class]), 3.2);
    showScale(scale / ratio, state.about.mpp[0]);
  }

  /** Closed lines on white, so that they can be seen on any ground. */
  lines(lines, toScreen, color, width, dashes = []) {
    const { context, ratio } = this;
    context.beginPath();
    for (const line of lines) line.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](...toScreen(x, y)));
    context.lineJoin = "round";
    for (const [style, times, dash] of [["rgb(255 255 255 / 0.85)", 2.1, []], [color, 1, dashes]]) {
      context.strokeStyle = style;
      context.lineWidth = width * times * ratio;
      context.setLineDash(dash.map((d) => d * ratio));
      context.stroke();
    }
    context.setLineDash([]);
  }
}

/** A round length of about an eighth of the window; scale: px of the page for one px of level 0. */
function showScale(scale, mpp) {
  const most = 150, perUm = scale / mpp, power = 10 ** Math.floor(Math.log10(most / perUm));
  const um = [5, 2, 1].map((n) => n * power).find((length) => length * perUm <= most);
  document.getElementById("scale-line").style.width = `${um * perUm}px`;
  document.getElementById("scale-length").textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
}
