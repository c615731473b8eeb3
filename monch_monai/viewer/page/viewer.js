"use strict";
/* The page: what is shown, and what happens on clicks, keys and moves. */

const OPACITY = 90;
const source = typeof EXPORTED === "undefined" ? new ServedSource() : new ExportedSource(EXPORTED);
const state = {
  results: [], about: null, outlines: null, table: null, tissue: null, region: null, hovered: null,
  shown: [], colors: [], opacity: OPACITY, least: 0, safe: false, tissueShown: false, visible: true,
};
const view = OpenSeadragon({
  element: byId("picture"), drawer: "canvas", showNavigationControl: false, animationTime: 0.35, springStiffness: 9, maxZoomPixelRatio: 12, minZoomImageRatio: 0.7,
  visibilityRatio: 0.3, gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, immediateRender: false, imageLoaderLimit: 8,
});
const overlay = new Overlay(byId("overlay"), view, state);
const lasso = new Lasso(byId("stage"), pointOf, state, () => overlay.later(), (points) => takeRegion(points));
let opening = 0, timer = 0;

/** Place of an event, px of level 0. */
function pointOf(event) {
  const stage = byId("stage").getBoundingClientRect(), item = view.world.getItemAt(0);
  const at = item.viewerElementToImageCoordinates(new OpenSeadragon.Point(event.clientX - stage.left, event.clientY - stage.top));
  return [at.x, at.y];
}

/** Opens a result by name, at a place where one is given. */
async function openResult(name, place = {}) {
  const result = state.results.find((r) => r.name === name) || state.results.find((r) => !r.missing);
  const now = ++opening;
  Object.assign(state, { outlines: null, table: null, tissue: null, region: null, hovered: null });
  showMessage("");
  try {
    const about = await source.open(result.key);
    if (now !== opening) return;
    state.about = about;
    takePlace(state, place);
    showFacts(about);
    markResult(about.name);
    showClasses(state, toggleClass);
    restyle();
    showRegion(state, false);
    await openPicture(about, place);
    const nuclei = await source.nuclei();
    if (now !== opening) return;
    state.outlines = new OutlineTiles(source, { ...nuclei, size: about.size }, () => overlay.later());
    restyle();
    if (state.tissueShown) showTissue();
    state.table = new NucleusTable(await source.rows(), nuclei.total);
    if (now === opening) recount();
  } catch (error) {
    if (now === opening) showMessage(error.message);
  }
}

/** The deep zoom picture, at its place. */
function openPicture(about, place) {
  const [width, height] = about.size, tileSource = {
    width, height, tileSize: about.tile, minLevel: 0, maxLevel: about.levels - 1,
    getTileUrl: (level, x, y) => source.pictureTile(level, x, y),
    tileExists: about.part && ((level, x, y) => meets(about, level, x, y)),
  };
  if (!about.part) delete tileSource.tileExists;
  return new Promise((resolve) => {
    view.addOnceHandler("open", () => {
      goTo(place, true);
      resolve();
    });
    view.open(tileSource);
  });
}

/** Whether an exported page has a tile: those that its part meets. */
function meets(about, level, x, y) {
  const side = about.tile * 2 ** (about.levels - 1 - level), [left, top, width, height] = about.part;
  return level >= 0 && level < about.levels && x * side < left + width && (x + 1) * side > left && y * side < top + height && (y + 1) * side > top;
}

function goTo(place, immediately) {
  const item = view.world.getItemAt(0), [x, y, scale] = [place.x, place.y, place.scale].map(Number);
  if (x > -1e7 && y > -1e7 && scale > 0) {
    view.viewport.zoomTo(item.imageToViewportZoom(scale), null, immediately);
    view.viewport.panTo(item.imageToViewportCoordinates(x, y), immediately);
  } else home(immediately);
}

function home(immediately) {
  const part = state.about.part;
  if (part) view.viewport.fitBounds(view.world.getItemAt(0).imageToViewportRectangle(...part), immediately);
  else view.viewport.goHome(immediately);
}

/** Takes over colours, classes and the threshold, and shows them. */
function restyle() {
  for (const [place, c] of state.about.classes.entries()) state.colors[c.index] = colorOf(state.about.classes, place, state.safe);
  if (state.outlines) state.outlines.setStyle([...state.colors], [...state.shown], state.least);
  showSettings(state);
  recount();
  overlay.later();
}

function recount() {
  const nothing = new Uint32Array(256), { table, region, least } = state;
  const whole = table ? table.whole(least) : nothing;
  const counts = !table ? nothing : region ? table.inPolygon(region, least) : table.inBox(overlay.box(), least);
  showCounts(state, counts, whole, table ? (region ? "in the region" : "in view") : "are being counted");
  remember();
}

/** Writes the place into the address, and counts, when the view has come to rest for a moment. */
function settle() {
  clearTimeout(timer);
  timer = setTimeout(recount, 120);
}

function remember() {
  const item = view.world.getItemAt(0);
  if (!item || !state.about) return;
  const center = item.viewportToImageCoordinates(view.viewport.getCenter(false));
  writePlace(placeOf(state, center, item.viewportToImageZoom(view.viewport.getZoom(false))));
}

function toggleClass(index) {
  state.shown[index] = !state.shown[index];
  restyle();
}

async function showTissue() {
  const now = opening;
  overlay.later();
  if (state.tissue) return;
  try {
    const tissue = await source.tissue();
    if (now === opening) state.tissue = tissue;
  } catch (error) {
    showMessage(error.message);
  }
  overlay.later();
}

function setTissue(shown) {
  state.tissueShown = shown;
  if (shown) showTissue();
  restyle();
}

function setDrawing(drawing) {
  state.region = null;
  lasso.on(drawing);
  showRegion(state, drawing);
  recount();
  overlay.later();
}

function takeRegion(points) {
  const region = thinned(points, 2 / view.world.getItemAt(0).viewportToImageZoom(view.viewport.getZoom(true)));
  state.region = region.length > 2 ? region : null;
  showRegion(state, false);
  recount();
  overlay.later();
}

function neighbour(step) {
  const there = state.results.filter((r) => !r.missing), at = there.findIndex((r) => r.name === state.about.name);
  if (there.length > 1) openResult(there[(at + step + there.length) % there.length].name);
}

view.addHandler("canvas-key", (event) => {
  event.preventDefaultAction = true;
});
view.addHandler("update-viewport", () => overlay.draw());
for (const name of ["animation", "animation-finish", "resize"]) view.addHandler(name, settle);
byId("zoom-in").onclick = () => zoom(1.5);
byId("zoom-out").onclick = () => zoom(1 / 1.5);
byId("zoom-home").onclick = () => home(false);
byId("opacity").oninput = (event) => setOpacity(Number(event.target.value));
byId("threshold").oninput = (event) => setLeast(Number(event.target.value) * 100);
byId("tissue").onchange = (event) => setTissue(event.target.checked);
byId("palette").onchange = (event) => {
  state.safe = event.target.checked;
  restyle();
};
byId("draw").onclick = () => setDrawing(!lasso.active);
byId("clear").onclick = () => setDrawing(false);
byId("save").onclick = () => save(csvOf(regionRows(state)), `${state.about.name.replaceAll("/", "_")}_region.csv`);
byId("link").onclick = async () => {
  remember();
  await navigator.clipboard.writeText(location.href).catch(() => prompt("Link to this place", location.href));
  byId("link").textContent = "Copied";
  setTimeout(() => (byId("link").textContent = "Copy link to this place"), 1500);
};
addEventListener("hashchange", () => {
  const place = readPlace(location.hash);
  if (!state.about || place.result !== state.about.name) return openResult(place.result, place);
  takePlace(state, place);
  goTo(place, false);
  showRegion(state, false);
  return state.tissueShown ? setTissue(true) : restyle();
});

source.list().then((results) => {
  state.results = results;
  showResults(results, (name) => openResult(name));
  const place = readPlace(location.hash);
  return openResult(place.result, place);
}).catch((error) => showMessage(error.message));
