"use strict";
/* The panel beside the picture. */

const byId = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en").replaceAll(",", "\u202f");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function showFacts(about) {
  const [width, height] = about.size, [x, y] = about.mpp;
  const mm = (px, mpp) => ((px * mpp) / 1000).toPrecision(3);
  byId("name").textContent = about.name;
  byId("facts").textContent = `${mm(width, x)} × ${mm(height, y)} mm · ${Number(x.toPrecision(3))} µm/px`;
  document.title = `${about.name} · MONCH`;
}

/** choose is called with the name of a result. */
function showResults(results, choose) {
  byId("cohort").hidden = results.length < 2;
  byId("cohort-title").textContent = `${results.length} results`;
  byId("results").replaceChildren(...results.map((result) => {
    const button = element("button", { disabled: result.missing, title: result.missing ? "its picture is missing" : result.name },
      element("span", { textContent: result.name }),
      element("span", { textContent: result.nuclei === null ? "" : grouped(result.nuclei) }));
    button.dataset.name = result.name;
    button.onclick = () => choose(result.name);
    return element("li", {}, button);
  }));
}

function markResult(name) {
  for (const button of byId("results").querySelectorAll("button")) {
    if (button.dataset.name === name) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
}

/** toggle is called with the index of a class. */
function showClasses(state, toggle) {
  byId("classes").replaceChildren(...state.about.classes.map((c) => {
    const button = element("button", { title: "show or hide" },
      element("span", { className: "swatch" }), element("span", { className: "name", textContent: c.name }),
      element("span", { className: "count" }), element("span", { className: "bar" }, element("i")));
    button.dataset.index = c.index;
    button.onclick = () => toggle(c.index);
    return element("li", {}, button);
  }));
}

/** Counts by class index of what is in view (or in the region), and of the whole. */
function showCounts(state, counts, whole, where) {
  const total = state.about.classes.reduce((sum, c) => sum + counts[c.index], 0);
  byId("counted").textContent = where;
  for (const button of byId("classes").querySelectorAll("button")) {
    const index = Number(button.dataset.index), of = element("small", { textContent: ` of ${grouped(whole[index])}` });
    button.style.setProperty("--of", css(state.colors[index]));
    button.setAttribute("aria-pressed", String(state.shown[index]));
    button.querySelector(".count").replaceChildren(grouped(counts[index]), of);
    button.querySelector(".bar i").style.transform = `scaleX(${total ? counts[index] / total : 0})`;
  }
  byId("sum").textContent = `${grouped(total)} nuclei ${where}`;
}

function showSettings(state) {
  byId("opacity").value = state.opacity;
  byId("opacity-value").value = `${state.opacity} %`;
  byId("threshold").value = state.least / 100;
  byId("threshold-value").value = (state.least / 1e4).toFixed(2);
  byId("tissue").checked = state.tissueShown;
  byId("palette").checked = state.safe;
}

function showRegion(state, drawing) {
  byId("draw").setAttribute("aria-pressed", String(drawing));
  byId("save").disabled = byId("clear").disabled = !state.region || drawing;
  const area = state.region && !drawing ? areaOf(state.region) * state.about.mpp[0] * state.about.mpp[1] : 0;
  const size = area >= 1e5 ? `${(area / 1e6).toPrecision(3)} mm²` : `${grouped(Math.round(area))} µm²`;
  byId("region-hint").textContent = drawing ? "Drag around what is to be counted."
    : state.region ? `${size}: the counts above are of it.` : "Draw around a part to count its nuclei.";
}

/** numbers of the nucleus under the pointer, at a place of the page. */
function showCard(state, hovered, numbers, x, y) {
  const card = byId("card"), stage = byId("stage").getBoundingClientRect();
  card.hidden = !hovered;
  if (!hovered) return;
  const c = state.about.classes.find((each) => each.index === hovered.class), rows = [];
  const add = (name, value, unit = "") => rows.push(element("tr", {}, element("td", { textContent: name }), element("td", { textContent: value + unit })));
  for (const [name, value] of Object.entries(numbers || {})) {
    if (value === null || name === "x" || name === "y") continue;
    const [, words, unit] = /^(.*?)(?:_(um2|um|rad))?$/.exec(name);
    const units = { um2: " µm²", um: " µm", rad: " rad" };
    add(words === "mean_prob" ? "probability" : words.replace(/^prob_/, "p ").replaceAll("_", " "), Number(value.toPrecision(4)), units[unit]);
  }
  if (numbers && "x" in numbers) add("x, y", `${Math.round(numbers.x)}, ${Math.round(numbers.y)}`);
  card.style.setProperty("--of", css(state.colors[hovered.class]));
  card.replaceChildren(element("b", {}, element("i"), c.name), element("table", {}, ...rows));
  const right = x + 18 + card.offsetWidth > stage.width, low = y + 18 + card.offsetHeight > stage.height;
  card.style.transform = `translate(${Math.max(4, right ? x - 14 - card.offsetWidth : x + 18)}px, ${Math.max(4, low ? y - 14 - card.offsetHeight : y + 18)}px)`;
}

function showMessage(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}
