"use strict";
/* The nucleus under the pointer. */

let asked = 0;
async function hover(event) {
  const now = ++asked;
  const stage = byId("stage").getBoundingClientRect(), [x, y] = [event.clientX - stage.left, event.clientY - stage.top];
  const seen = state.outlines && state.visible && event.buttons === 0 && !lasso.active && event.target.closest("#picture");
  const found = seen ? state.outlines.at(...pointOf(event), overlay.scale) : null;
  const same = found && state.hovered && found.row === state.hovered.row;
  state.hovered = found;
  overlay.later();
  if (!found) return showCard(state, null);
  if (same && state.numbers) return showCard(state, found, state.numbers, x, y);
  state.numbers = null;
  const numbers = await source.numbers(found.row).catch(() => ({}));
  if (now === asked || (state.hovered && state.hovered.row === found.row)) {
    state.numbers = numbers;
    showCard(state, state.hovered, numbers, x, y);
  }
  return undefined;
}

byId("stage").addEventListener("pointermove", hover);
byId("stage").addEventListener("pointerleave", () => showCard(state, (state.hovered = null)));
