"""How Sphinx makes the site: ``make docs``. It needs no network, and every warning is an error.

The pages of ``docs/`` are read on their own as well, so they link to other files of the repository as files.
On the site each of those is a page too, which :func:`bring_in` arranges. The map for language models comes
from ``_ext/llms.py``.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
# Airflow writes its settings down when it is imported: neither here nor into the caller's home.
os.environ["AIRFLOW_HOME"] = str(ROOT / "build" / "airflow")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"

from airflow_provider_oxen import __version__  # noqa: E402

project = "airflow-provider-oxen"
author = "the authors of airflow-provider-oxen"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "llms"]
html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 4

python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
# As they are written: what a default comes to may depend on the machine.
autodoc_preserve_defaults = True
autodoc_typehints = "none"
# Nothing of others can be looked up offline.
nitpick_ignore_regex = [(r"py:.*", r"(airflow|httpx|pydantic|starlette|uvicorn)\..*")]

PAGES = {"README.md": "readme.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
"""Files of the repository that are pages of the site."""

EXAMPLES = "example_dags/"
"""Its files are all on one page, ``examples.md``, each under its name."""

_BROUGHT = re.compile(r"^```\{include\} \.\./(\S+)\n```$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]*)?\)")
_ALL_EXAMPLES = "<!-- every example -->"


def bring_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Bring in what a page takes from the repository, and make links to files into links to pages."""
    folder = Path(app.srcdir, docname).parent
    text = _LINK.sub(lambda link: _on_site(link, folder), source[0])
    text = _BROUGHT.sub(lambda match: _whole(app, match[1]), text)
    source[0] = text.replace(_ALL_EXAMPLES, _examples(app))


def _whole(app: Sphinx, name: str) -> str:
    app.env.note_dependency(str(ROOT / name))
    return _LINK.sub(lambda link: _on_site(link, ROOT), (ROOT / name).read_text())


def _on_site(link: re.Match[str], folder: Path) -> str:
    """Return a link to a page of the site; what is no file of the repository stays as it is."""
    target, anchor = link[1], link[2] or ""
    if not target or ":" in target:
        return link[0]
    path = Path(os.path.normpath(folder / target))
    if not path.is_relative_to(ROOT) or not path.exists():
        return link[0]  # which MyST then reports
    name = path.relative_to(ROOT).as_posix()
    if name in PAGES:
        return f"](/{PAGES[name]}{anchor})"
    if f"{name}/".startswith(EXAMPLES):
        return f"](/examples.md{'' if path.is_dir() else '#' + _slug(path.name)})"
    if name.startswith("docs/"):
        return f"](/{name.removeprefix('docs/')}{anchor})"
    return link[0]


def _examples(app: Sphinx) -> str:
    parts = []
    for path in sorted((ROOT / EXAMPLES).iterdir()):
        if path.suffix in (".py", ".csv"):
            app.env.note_dependency(str(path))
            language = "python" if path.suffix == ".py" else "text"
            include = f"```{{literalinclude}} /../{EXAMPLES}{path.name}\n:language: {language}\n```"
            parts.append(f"## {path.name}\n\n{include}\n")
    return "\n".join(parts)


def _slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _is_there(record: logging.LogRecord) -> bool:
    """Let go of the warning that a pattern in a list of pages fits none: the page has not come yet."""
    return getattr(record, "subtype", None) != "empty_glob"


def setup(app: Sphinx) -> None:
    """Connect to Sphinx, which calls this."""
    logging.getLogger("sphinx.sphinx.directives.other").addFilter(_is_there)
    app.connect("source-read", bring_in)
