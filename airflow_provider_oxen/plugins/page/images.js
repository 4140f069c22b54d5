// Follows Airflow's theme, opens links in Airflow's window instead of its frame, enlarges and compares images,
// copies, and looks again while tasks are under way. Without it the page is complete, too.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (name, text = "", properties = {}) =>
  Object.assign(document.createElement(name), { textContent: text, ...properties });

let outside = null;
try {
  if (window.parent !== window) outside = window.parent.document;
} catch { /* Framed by another origin, or not at all. */ }

if (outside) {
  const theirs = outside.documentElement;
  const names = { ground: "bg", line: "border", text: "fg", quiet: "fg-muted" };
  const follow = () => {
    const ours = document.documentElement;
    ours.dataset.theme = theirs.classList.contains("dark") ? "dark" : "light";
    const styles = getComputedStyle(theirs);
    for (const [name, token] of Object.entries(names)) {
      const colour = styles.getPropertyValue(`--chakra-colors-${token}`).trim();
      if (CSS.supports("color", colour)) ours.style.setProperty(`--${name}`, colour);
      else ours.style.removeProperty(`--${name}`);
    }
    const body = getComputedStyle(outside.body);
    ours.style.setProperty("--font", body.fontFamily);
    if (!["transparent", "rgba(0, 0, 0, 0)"].includes(body.backgroundColor)) {
      ours.style.setProperty("--ground", body.backgroundColor);
    }
  };
  follow();
  new MutationObserver(follow).observe(theirs, { attributes: true, attributeFilter: ["class"] });

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-task], a[data-outside]");
    if (!link || event.defaultPrevented || event.button !== 0) return;
    event.preventDefault();
    const there = outside.createElement("a");
    there.href = link.href;
    there.rel = "noreferrer";
    const aside = "outside" in link.dataset || event.ctrlKey || event.metaKey || event.shiftKey;
    if (aside) there.target = "_blank";
    there.click();
  });
}

// Copying
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS a browser has no clipboard.
    const box = document.querySelector("dialog[open]") ?? document.body;
    const area = make("textarea", "", { value: text });
    box.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return "Could not be copied";
  }
  return "Copied";
}

function addCopies(root) {
  for (const place of root.querySelectorAll("[data-copy]:not(:has(> .copy))")) {
    const text = place.textContent;
    const button = make("button", "Copy", { type: "button", className: "copy" });
    button.setAttribute("aria-label", `Copy ${place.dataset.copy}`);
    button.addEventListener("click", async () => {
      const said = $("said");
      said.textContent = button.textContent = await copy(text);
      said.hidden = false;
      setTimeout(() => { button.textContent = "Copy"; said.hidden = true; }, 2000);
    });
    place.append(button);
  }
}

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details[open]")) addCopies(event.target);
}, true);

// Enlarging
const box = $("box"), pair = $("pair");
const large = make("img");
let at = null;

box.querySelector(".large").append(large);

const pictures = () => [...document.querySelectorAll(".tile.image:not([hidden])")];

function source(image, tile) {
  const small = tile.querySelector(".picture img")?.src ?? "";
  image.onerror = () => { image.onerror = null; image.src = small; };
  image.alt = tile.querySelector(".prompt")?.textContent ?? "";
  image.src = tile.dataset.original ?? small;
}

function enlarge(tile) {
  const all = pictures();
  at = tile;
  source(large, tile);
  const about = box.querySelector(".about");
  about.replaceChildren(tile.querySelector(".facts").cloneNode(true));
  about.querySelectorAll(".copy").forEach((button) => button.remove());
  addCopies(about);
  if (tile.dataset.original) {
    const link = make("a", "Open the original", { href: tile.dataset.original, rel: "noreferrer" });
    link.dataset.outside = "";
    about.prepend(link);
  }
  $("place").textContent = `${all.indexOf(tile) + 1} of ${all.length}`;
  if (!box.open) box.showModal();
}

function step(by) {
  const all = pictures();
  if (all.length) enlarge(all[(all.indexOf(at) + by + all.length) % all.length]);
}

box.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) { event.preventDefault(); step(by); }
});
for (const button of box.querySelectorAll("[data-step]")) {
  button.addEventListener("click", () => step(Number(button.dataset.step)));
}
for (const dialog of [box, pair]) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
box.addEventListener("close", () => at?.querySelector("button.picture")?.focus());

// Comparing
const chosen = new Set();

function choose(tile, checked) {
  chosen[checked ? "add" : "delete"](tile.dataset.key);
  tile.classList.toggle("chosen", checked);
  while (chosen.size > 2) {
    const [first] = chosen;
    chosen.delete(first);
    const other = document.querySelector(`[data-key="${CSS.escape(first)}"]`);
    other?.classList.remove("chosen");
    if (other) other.querySelector(".pick").checked = false;
  }
  const bar = $("chosen");
  bar.hidden = !chosen.size;
  bar.querySelector("span").textContent = chosen.size < 2 ? "Choose one more to compare." : "2 chosen.";
  $("compare").disabled = chosen.size < 2;
}

const factsOf = (tile) => new Map([...tile.querySelectorAll(".facts > div")]
  .map((row) => [row.querySelector("dt").textContent, row.querySelector("dd bdi, dd")?.textContent ?? ""]));

function compare() {
  const tiles = [...chosen].map((key) => document.querySelector(`[data-key="${CSS.escape(key)}"]`)).filter(Boolean);
  if (tiles.length < 2) return;
  const table = make("table"), facts = tiles.map(factsOf);
  const head = table.createTHead().insertRow();
  head.append(make("td"));
  for (const tile of tiles) {
    const cell = make("th", "", { scope: "col" }), image = make("img");
    source(image, tile);
    cell.append(image);
    head.append(cell);
  }
  const body = table.createTBody();
  for (const name of new Set(facts.flatMap((one) => [...one.keys()]))) {
    if (name === "Python") continue;
    const values = facts.map((one) => one.get(name) ?? "–");
    const differs = values[0] !== values[1];
    const row = body.insertRow();
    if (differs) row.className = "differs";
    row.append(make("th", differs ? `${name} ≠` : name, { scope: "row" }), ...values.map((value) => make("td", value)));
  }
  pair.querySelector(".pair").replaceChildren(table);
  pair.showModal();
}

$("compare")?.addEventListener("click", compare);
$("clear")?.addEventListener("click", () => {
  for (const pick of document.querySelectorAll(".pick:checked")) {
    pick.checked = false;
    choose(pick.closest(".tile"), false);
  }
});

// What a tile can do that the server's page does not say.
const sources = new WeakMap();

function equip() {
  for (const tile of document.querySelectorAll(".tile")) {
    if (sources.has(tile)) continue;
    sources.set(tile, tile.outerHTML);
    if (!tile.classList.contains("image")) { addCopies(tile); continue; }
    const title = tile.querySelector(".prompt")?.textContent ?? "";
    const picture = tile.querySelector(".picture");
    const button = make("button", "", { type: "button", className: "picture" });
    button.append(...picture.childNodes);
    button.setAttribute("aria-label", `Enlarge: ${title}`);
    button.addEventListener("click", () => enlarge(tile));
    picture.replaceWith(button);
    const pick = make("input", "", { type: "checkbox", className: "pick", checked: chosen.has(tile.dataset.key) });
    pick.setAttribute("aria-label", `Compare: ${title}`);
    pick.addEventListener("change", () => choose(tile, pick.checked));
    tile.classList.toggle("chosen", pick.checked);
    button.after(pick);
  }
}

// Looking again
function take(fresh) {
  const known = new Map([...document.querySelectorAll(".tile")].map((tile) => [tile.dataset.key, tile]));
  const focused = document.activeElement;
  for (const tile of fresh.querySelectorAll(".tile")) {
    const old = known.get(tile.dataset.key);
    if (!old) continue;
    if (sources.get(old) === tile.outerHTML) tile.replaceWith(old);
    else if (old.querySelector("details[open]")) tile.querySelector("details")?.setAttribute("open", "");
  }
  for (const id of ["sums", "tiles"]) {
    if ($(id) && fresh.getElementById(id)) $(id).replaceChildren(...fresh.getElementById(id).childNodes);
  }
  const status = fresh.getElementById("status")?.textContent;
  if (status && $("status") && $("status").textContent !== status) $("status").textContent = status;
  document.body.toggleAttribute("data-open", fresh.body.hasAttribute("data-open"));
  equip();
  document.dispatchEvent(new Event("tiles"));
  if (focused?.isConnected) focused.focus({ preventScroll: true });
}

async function look() {
  try {
    if (!document.hidden && !document.querySelector("dialog[open]")) {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      const text = answer.ok && await answer.text();
      if (text && !document.querySelector("dialog[open]")) take(new DOMParser().parseFromString(text, "text/html"));
    }
  } catch { /* Airflow is away, or the session is over; the next time tells. */ }
  if ("open" in document.body.dataset) setTimeout(look, 5000);
}

function tick() {
  for (const time of document.querySelectorAll("[data-since]")) {
    const all = Math.max(0, Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000));
    const hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60, seconds = all % 60;
    time.textContent = hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${seconds} s` : `${seconds} s`;
  }
}

equip();
if ("open" in document.body.dataset) {
  setTimeout(look, 5000);
  setInterval(tick, 1000);
}
