"""``llms.txt`` at the root of the site: the map for language models, made from the lists of pages."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

_SENTENCE = re.compile(r"(?<=[.:!?])\s+(?=[A-Z*`])")


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the map, once the site is built."""
    if error is None and app.builder.format == "html":
        Path(app.outdir, "llms.txt").write_text(_map(app))


def _map(app: Sphinx) -> str:
    lines = [f"# {app.config.project}", "", f"> {_first_sentence(app, app.config.root_doc)}"]
    for tree in app.env.get_doctree(app.config.root_doc).findall(addnodes.toctree):
        lines += ["", f"## {tree['caption']}", ""]
        for title, page in tree["entries"]:
            name, link = title or app.env.titles[page].astext(), app.builder.get_target_uri(page)
            lines.append(f"- [{name}]({link}): {_first_sentence(app, page)}")
    return "\n".join(lines) + "\n"


def _first_sentence(app: Sphinx, page: str) -> str:
    paragraphs = app.env.get_doctree(page).findall(nodes.paragraph)
    for paragraph in (found for found in paragraphs if isinstance(found.parent, nodes.section)):
        return _SENTENCE.split(" ".join(paragraph.astext().split()))[0]
    return ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to Sphinx, which calls this."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
