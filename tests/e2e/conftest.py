"""One Airflow, one hub, one store and one browser for all tests; a failed test leaves what it saw.

``build/e2e/`` holds Airflow's home with all logs, and a picture and the text of each page that failed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Generator, Iterator

import boto3
import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect, sync_playwright

from airflow_provider_oxen.localhub import Fault, HubSettings, LocalHub
from tests.integration.s3 import Server, server  # noqa: F401 - a fixture

from .pages import Web
from .pictures import BUILD
from .site import Site

BUCKET = "shop-pictures"

RUN = "spring"
"""Id of the runs that the Images view and the links are looked at in."""

FAR = {
    "postcards": {"animals": "success"} | {f"town[{index}]": "success" for index in range(4)},
    "postcards_under_way": {"town[0]": "success", "town[1]": "deferred"},
    "postcards_failed": {"town[0]": "success", "town[1]": "failed", "birds": "success"},
    "no_postcards": {"look_around": "success"},
}
"""How far each of the tests' own Dags gets."""

KEY = "oxen-e2e-key-5f1d"

WINDOW: ViewportSize = {"width": 1440, "height": 860}

PATIENCE = 90_000
"""Milliseconds that the interface may take to show something, on a machine that others use too."""


@pytest.fixture(scope="session")
def hub() -> Iterator[LocalHub]:
    """A hub where a word of the prompt makes a queued job hang or fail."""
    with LocalHub(HubSettings(key=KEY, default_size=(512, 512))) as running:
        running.fail(
            Fault("hangs", on="enqueue", prompt="slow", times=None),
            Fault("fails", on="enqueue", prompt="broken", message="The model ran out of memory", times=None),
        )
        yield running


@pytest.fixture(scope="session")
def site(hub: LocalHub, s3_server: Server) -> Iterator[Site]:
    """A running Airflow whose Dags keep their images in a bucket."""
    shutil.rmtree(BUILD, ignore_errors=True)
    store = {"endpoint_url": s3_server.url, "region_name": "us-east-1"}
    access = {"login": "id", "password": "secret"}
    client = boto3.client("s3", **store, aws_access_key_id="id", aws_secret_access_key="secret")
    client.create_bucket(Bucket=BUCKET)
    client.close()
    connections = {
        "AIRFLOW_CONN_OXEN_DEFAULT": json.dumps({"conn_type": "oxen", "host": hub.url, "password": hub.key}),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"conn_type": "aws", "extra": store, **access}),
        "AIRFLOW__OXEN__VIEW_ORIGINALS": f"s3://aws_default@{BUCKET}/spring/",
        "OXEN_EXAMPLES_OUTPUT": f"s3://aws_default@{BUCKET}",
    }
    with Site(BUILD / "airflow", connections) as running:
        # They go on while the connection form is tried.
        for dag_id in FAR:
            running.trigger(dag_id, RUN)
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "no chromium on the PATH: make e2e says how to install it"
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Its sandbox asks for rights that containers do not give; it sees nothing but this machine.
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def session_file(site: Site, browser: Browser) -> str:
    """Sign in once, and return the file with the browser's session."""
    context = browser.new_context()
    Web(context.new_page(), site.url).sign_in()
    path = str(site.home / "session.json")
    context.storage_state(path=path)
    context.close()
    return path


@pytest.fixture(scope="session")
def context(browser: Browser, session_file: str) -> BrowserContext:
    """The browser of a user who is signed in: what one test has loaded, the next need not load again."""
    made = browser.new_context(storage_state=session_file, viewport=WINDOW, color_scheme="light")
    made.set_default_timeout(PATIENCE)
    return made


@pytest.fixture
def web(site: Site, context: BrowserContext) -> Iterator[Web]:
    page = context.new_page()
    yield Web(page, site.url)
    page.close()


@pytest.fixture(scope="session")
def runs(site: Site) -> str:
    """Return the id of the runs of the tests' own Dags, each of which has come as far as it will."""
    for dag_id, states in FAR.items():
        site.wait_for(dag_id, RUN, states)
    return RUN


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what was seen when a test failed, and show the ends of Airflow's logs."""
    report = yield
    if report.failed:
        arguments = getattr(item, "funcargs", {})
        browser, site = arguments.get("browser"), arguments.get("site")
        pages = [page for context in browser.contexts for page in context.pages] if browser else []
        for number, page in enumerate(pages):
            stem = f"failed-{re.sub('[^a-z0-9_]+', '-', item.name)}-{number}"
            page.screenshot(path=BUILD / f"{stem}.png")
            (BUILD / f"{stem}.txt").write_text(f"{page.url}\n{page.locator('body').aria_snapshot()}\n")
        report.sections += [(f"{name}.log", tail) for name, tail in site.tails()] if site else []
    return report
