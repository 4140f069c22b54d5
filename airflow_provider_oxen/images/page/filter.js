// Filters, and where there is a choice sorts, the tiles that are on the page. Without it all are shown.
"use strict";

const filters = document.getElementById("filters");
const places = new WeakMap();

const tilesOf = (root = document) => [...root.querySelectorAll("[data-tile]")];
const valueOf = (tile, name) => tile.dataset[name] ?? "";
const wordsOf = (tile) => tile.textContent.toLowerCase();

function offer() {
  const tiles = tilesOf();
  for (const select of filters.querySelectorAll("select:not([name=sort])")) {
    const chosen = select.value;
    const values = [...new Set(tiles.map((tile) => valueOf(tile, select.name)))].filter(Boolean).sort();
    if (chosen && !values.includes(chosen)) values.push(chosen);
    select.replaceChildren(new Option("All", ""), ...values.map((value) => new Option(value, value)));
    select.value = chosen;
    select.closest(".field").hidden = values.length < 2;
  }
  filters.hidden = tiles.length < 2;
}

function apply() {
  const tiles = tilesOf();
  const given = new FormData(filters);
  const least = parseFloat(given.get("cost"));
  const words = given.get("words").trim().toLowerCase();
  let shown = 0;
  for (const tile of tiles) {
    let fits = !words || wordsOf(tile).includes(words);
    for (const [name, value] of given) {
      if (value && !["cost", "words", "sort"].includes(name)) fits &&= valueOf(tile, name) === value;
    }
    if (!Number.isNaN(least)) fits &&= parseFloat(valueOf(tile, "cost")) >= least;
    tile.hidden = !fits;
    shown += fits;
  }
  for (const part of document.querySelectorAll("[data-part]")) {
    part.hidden = !part.querySelector("[data-tile]:not([hidden])");
  }
  document.getElementById("matches").textContent =
    shown < tiles.length ? `${shown} of the ${tiles.length} on this page` : "Filters cover this page";
  const by = given.get("sort");
  if (by !== null) sort(by);
}

function sort(by) {
  const key = {
    cost: (tile) => -(parseFloat(valueOf(tile, "cost")) || 0),
    model: (tile) => valueOf(tile, "model"),
    task: (tile) => valueOf(tile, "task"),
    prompt: (tile) => tile.querySelector(".prompt")?.textContent ?? "",
  }[by] ?? ((tile) => places.get(tile));
  const order = (a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : places.get(a) - places.get(b));
  for (const grid of document.querySelectorAll(".grid")) {
    const now = tilesOf(grid);
    const wanted = [...now].sort(order);
    if (wanted.some((tile, at) => tile !== now[at])) grid.append(...wanted);
  }
}

function found() {
  tilesOf().forEach((tile, at) => places.set(tile, at));
  offer();
  apply();
}

if (filters) {
  filters.addEventListener("input", apply);
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("tiles", found);
  found();
}
