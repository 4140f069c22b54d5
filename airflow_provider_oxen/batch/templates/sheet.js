
// Shows the files that lie beside the page in place of their previews, and only while they are near the screen:
// all of ten thousand at once would not fit into memory. Where a file cannot be loaded, its preview stays.
const without = new WeakMap();
const loading = new WeakMap();

function load(link) {
  const file = new Image();
  loading.set(link, file);
  if (!without.has(link)) without.set(link, [...link.childNodes]);
  file.alt = link.querySelector("img")?.alt ?? link.closest("[data-tile]").querySelector("h3").textContent;
  file.src = link.href;
  file.decode().then(() => loading.get(link) === file && link.replaceChildren(file), () => {});
}

function unload(link) {
  loading.get(link)?.removeAttribute("src");
  if (loading.delete(link)) link.replaceChildren(...without.get(link));
}

const watch = new IntersectionObserver(
  (seen) => seen.forEach(({ isIntersecting, target }) => (isIntersecting ? load(target) : unload(target))),
  { rootMargin: "50%" },
);
document.querySelectorAll("[data-file]").forEach((link) => watch.observe(link));
