"""README is short, names every make command once, leads to what is there, and fits a package index."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from ..conftest import ROOT

README = (ROOT / "README.md").read_text()
LINKS = re.findall(r"\]\((?!https?:)([^)\s]+)\)", README)


def commands() -> set[str]:
    """Return the targets that ``make help`` lists."""
    return set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}


def for_index(text: str, address: str) -> str:
    spec = importlib.util.spec_from_file_location("readme_hook", ROOT / "scripts" / "readme.py")
    assert spec
    assert spec.loader
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    found: str = hook.for_index(text, address, "1.2.3")
    return found


def test_it_has_at_most_120_lines():
    assert len(README.splitlines()) <= 120


def test_it_names_every_make_command_once_and_no_other():
    named = re.findall(r"\bmake ([a-z0-9-]+)", re.sub(r"and `make`, nothing", "", README))

    assert sorted(named) == sorted(commands())


def test_it_installs_only_what_can_be_had():
    """There is no release on a package index yet."""
    assert "pip install airflow-provider-oxen" not in README.replace("'", "").replace('"', "")


@pytest.mark.parametrize("link", LINKS)
def test_its_links_lead_to_files(link: str):
    assert (ROOT / link.partition("#")[0]).exists()


def test_it_shows_the_images_view():
    assert re.search(r"^!\[[^\]]*Images view[^\]]*\]\(docs/images/\S+\.png\)$", README, re.MULTILINE)


def test_for_an_index_all_links_and_pictures_lead_into_the_repository():
    text = for_index(README, "https://git.example/oxen/")

    assert not re.search(r"\]\((?!https://)", text)
    assert len(re.findall(r"\]\(https://git\.example/oxen/(?:blob|raw)/v1\.2\.3/\w", text)) == len(LINKS)
    assert "](https://git.example/oxen/blob/v1.2.3/docs/storage.md#what-is-proved)" in text
    assert "](https://git.example/oxen/raw/v1.2.3/docs/images/gallery-light.png)" in text
    assert "](https://www.oxen.ai)" in text


@pytest.mark.parametrize(
    "text",
    ["```\n[a](docs/a.md)\n```", "[top](#try-it)", "[hub](https://www.oxen.ai)", "no link (docs/a.md)"],
)
def test_what_is_no_link_to_a_file_stays(text: str):
    assert for_index(text, "https://git.example/oxen") == text


def test_a_picture_that_is_a_link_leads_to_both():
    assert for_index("[![x](a.png)](b.md)", "https://git.example/o") == (
        "[![x](https://git.example/o/raw/v1.2.3/a.png)](https://git.example/o/blob/v1.2.3/b.md)"
    )


def test_no_address_is_made_up():
    """It is set once, at release."""
    text = Path(ROOT / "pyproject.toml").read_text()

    assert re.findall(r"^Repository = .*", text, re.MULTILINE) == []


def test_make_docs_says_where_the_site_is():
    done = subprocess.run(
        ["make", "-n", "-o", ".venv/installed", "docs"], cwd=ROOT, check=True, capture_output=True, text=True
    )

    assert re.search(r'^echo "The site is in build/docs: .*build/docs/index\.html', done.stdout, re.MULTILINE)
