// Follows Airflow's light or dark theme, opens links in Airflow's window instead of its frame, and looks again
// while tasks are under way. Without it the page is complete, too.
"use strict";

let outside = null;
try {
  if (window.parent !== window) outside = window.parent.document;
} catch { /* Framed by another origin, or not at all. */ }

if (outside) {
  const theirs = outside.documentElement;
  const follow = () => {
    document.documentElement.dataset.theme = theirs.classList.contains("dark") ? "dark" : "light";
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

if ("open" in document.body.dataset) setTimeout(() => location.reload(), 10000);
