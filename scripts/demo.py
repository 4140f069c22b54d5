"""Run the scheduled example in a real Airflow and show what came out.

The images, their sidecars and an ``index.html`` stay in ``demo-output/``. The real hub is used
where ``OXEN_API_KEY`` is set, a local one otherwise.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import subprocess
import sys
import webbrowser
from datetime import UTC, datetime
from pathlib import Path

from surroundings import PYTHON, ROOT, airflow_home, hub

OUTPUT = ROOT / "demo-output"
DAG = "example_oxen_scheduled"


def main() -> None:
    OUTPUT.mkdir(exist_ok=True)
    earlier = set(OUTPUT.rglob("*.json"))  # they stay: they may have been paid for
    env = airflow_home(ROOT / ".demo", ROOT / "example_dags", OXEN_EXAMPLES_OUTPUT=str(OUTPUT))
    log = ROOT / ".demo" / "demo.log"
    with hub() as connection:
        env |= connection
        print("Airflow: making a database of its own, on SQLite …", flush=True)
        run(["db", "migrate"], env, log)
        print(f"Dag:     running {DAG} …", flush=True)
        run(["dags", "test", DAG, datetime.now(UTC).date().isoformat()], env, log)
    images = [check(path) for path in sorted(set(OUTPUT.rglob("*.json")) - earlier)]
    if not images:
        raise SystemExit(f"The Dag ran but left no image in {OUTPUT}; its log is {log}.")
    page = OUTPUT / "index.html"
    page.write_text(contact_sheet([*images, *(check(path) for path in sorted(earlier, reverse=True))]))
    for image in images:
        print(f"\nImage:   {image['path']}")
        print(
            f"         {image['media_type']}, {image['width']} x {image['height']}, {image['bytes']:,} bytes"
        )
        print(f"         sha256 {image['sha256']}")
    print(f"\nLog:     {log}\nLook at  {page}", flush=True)
    offer(page)


def offer(page: Path) -> None:
    """Offer to open the page, where somebody sits who can answer, and a browser is there."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and has_browser()):
        return
    try:
        answer = input("Open it in your browser now? [Y/n] ")
    except (EOFError, KeyboardInterrupt):
        print()
        return
    if answer.strip().lower() in ("", "y", "yes"):
        webbrowser.open(page.as_uri())


def has_browser() -> bool:
    """Whether there is one with windows: one of the terminal's own would show no images."""
    places = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform != "darwin" and not any(os.environ.get(name) for name in places):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def run(arguments: list[str], env: dict[str, str], log: Path) -> None:
    """Run an Airflow command; end with its log where it fails."""
    with log.open("a") as file:
        done = subprocess.run([PYTHON, "-m", "airflow", *arguments], env=env, stdout=file, stderr=file)
    if done.returncode:
        print(log.read_text()[-6000:])
        raise SystemExit(f"airflow {' '.join(arguments)} failed with exit code {done.returncode}; see {log}.")


def check(sidecar: Path) -> dict[str, object]:
    """Return what a sidecar says, after holding it against the image itself."""
    facts = json.loads(sidecar.read_text())
    path = sidecar.with_name(facts["file"])
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != facts["sha256"] or len(content) != facts["bytes"]:
        raise SystemExit(f"{path} is not what {sidecar} says.")
    return {**facts, "path": path}


def contact_sheet(images: list[dict[str, object]]) -> str:
    figures = []
    for image in images:
        source = html.escape(Path(str(image["path"])).relative_to(OUTPUT).as_posix())
        request = image["request"]
        prompt = html.escape(str(request["prompt"]) if isinstance(request, dict) else "")
        facts = html.escape(
            f"{image['model']} · seed {image.get('seed')} · {image['width']} x {image['height']}"
        )
        figures.append(
            f'<figure><a href="{source}"><img src="{source}" alt="{prompt}"></a>'
            f"<figcaption><b>{prompt}</b><br>{facts}<br><code>sha256 {image['sha256']}</code></figcaption>"
            "</figure>"
        )
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;"
        "background:Canvas;color:CanvasText;color-scheme:light dark}img{max-width:100%;border-radius:8px}"
        "figure{margin:0 0 2rem}code{font-size:.75rem;overflow-wrap:anywhere}"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        "<title>Images made by Airflow on Oxen.ai</title>"
        '<meta name="viewport" content="width=device-width">'
        f"<style>{style}</style><h1>Images made by Airflow on Oxen.ai</h1>{''.join(figures)}</html>\n"
    )


if __name__ == "__main__":
    main()
