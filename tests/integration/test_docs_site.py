"""``make docs`` finds what is broken, and follows the pages' links to files of the repository."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest

from ..conftest import ROOT

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("sphinx"), reason="the site is made on one line only"
)

LINKS = """# Probe

[good example](../example_dags/example_oxen_batch.py) [all examples](../example_dags/) [page](../SECURITY.md)
[heading](../README.md#try-it)

[bad file](../nope.md) [bad page](nope.md) [bad example](../example_dags/nope.py)
[bad heading](operators.md#nope) [bad heading of a file](../README.md#nope)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A copy of the site with a page of links; the reference, which takes long, is left out."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("docs", "example_dags", "airflow_provider_oxen"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("reference", "__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "SECURITY.md"):
        shutil.copyfile(ROOT / name, root / name)
    (root / "docs" / "events-probe.md").write_text(LINKS)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "docs", "site"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    return root / "site", done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        "target not found: '../nope.md'",
        "target not found: 'nope.md'",
        "target not found: '../example_dags/nope.py'",
        "not found in doc 'operators': 'nope'",
        "not found in doc 'readme': 'nope'",
    ],
)
def test_a_broken_link_is_an_error(built, wrong):
    assert wrong in built[1]


def test_nothing_else_is_wrong(built):
    warnings = [line for line in built[1].splitlines() if "WARNING" in line]

    assert [line for line in warnings if "nope" not in line and "reference/" not in line] == []


@pytest.mark.parametrize(
    ("text", "leads_to"),
    [
        ("good example", "examples.html#example-oxen-batch-py"),
        ("all examples", "examples.html"),
        ("page", "security.html"),
        ("heading", "readme.html#try-it"),
    ],
)
def test_a_link_to_a_file_of_the_repository_leads_to_its_page(built, text, leads_to):
    page = (built[0] / "events-probe.html").read_text()

    [link] = [part.rpartition("<a ")[2] for part in page.split(f">{text}</span></a>")[:-1]]
    assert f'href="{leads_to}"' in link


def test_a_page_that_comes_later_is_in_the_list(built):
    assert 'href="events-probe.html"' in (built[0] / "index.html").read_text()


def test_every_example_is_shown(built):
    page = (built[0] / "examples.html").read_text()

    for path in (ROOT / "example_dags").iterdir():
        if path.suffix in (".py", ".csv"):
            assert path.name in page


def words(site):
    """Return the words that the site's own search knows, each with the pages that have it."""
    [index] = re.findall(r"^Search\.setIndex\((.*)\)$", (site / "searchindex.js").read_text(), re.DOTALL)
    found = json.loads(index)
    pages = found["docnames"]
    known: dict[str, set[str]] = {}
    # A word of a heading stands in the second alone.
    for terms in (found["terms"], found["titleterms"]):
        for word, places in terms.items():
            known.setdefault(word, set()).update(
                pages[at] for at in ([places] if isinstance(places, int) else places)
            )
    return known


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("max_cost", "operators"),
        ("max_cost", "batches"),
        ("minio", "storage"),
        ("minio", "recipes"),
        ("slack", "operators"),
        ("slack", "recipes"),
        ("troubleshoot", "troubleshooting"),
    ],
)
def test_search_finds(built, word, page):
    assert page in words(built[0]).get(word, ())


def test_the_table_of_arguments_is_made_of_the_operators(built):
    page = (built[0] / "operators.html").read_text()

    assert re.search(r"<td><p><code[^>]*><span class=\"pre\">max_cost</span></code></p></td>", page)


def test_the_map_for_language_models_has_every_page(built):
    text = (built[0] / "llms.txt").read_text()
    shown = {"index", *re.findall(r"^- \[[^\n]+\]\((\S+)\.html\): \S", text, re.MULTILINE)}

    written = {path.stem for path in (ROOT / "docs").glob("*.md")} | {"events-probe"}
    # The reference is left out of the copy.
    assert shown == written
    assert text.startswith("# airflow-provider-oxen\n\n> The Apache Airflow provider")


def test_the_first_page_leads_to_three_doors(built):
    page = (built[0] / "index.html").read_text()

    assert re.findall(r"<h2>([^<]+)<", page) == ["Try it", "Use it", "Run it for a company"]
