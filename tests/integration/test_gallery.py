"""The Images view: Airflow's API server shows what tasks have pushed, and only to whom it may.

The application, its authorisation and its database are Airflow's own; the auth manager differs from the
simple one in looking at the Dag.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import airflow_provider_oxen
from airflow_provider_oxen.api.errors import OxenStoreUnavailable
from airflow_provider_oxen.batch.results import Results
from airflow_provider_oxen.images.pages import SHARED
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.tasks.facts import FACTS
from airflow_provider_oxen.tasks.xcoms import KEY, MAX_IMAGES

pytest.importorskip("airflow.api_fastapi.core_api.security", reason="Airflow 2.11 has no place for the view")

from airflow_provider_oxen.plugins.pool import PLACES

PAGE = Path(airflow_provider_oxen.__file__).parent / "plugins" / "page"

MARKUP = """<script>alert(1)</script>"><img src=x onerror=alert(2)> ' " &lt; &"""


@pytest.fixture(scope="module")
def app(airflow_db: None) -> Iterator[Any]:
    from airflow.api_fastapi import app as apps

    apps.purge_cached_app()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.integration.one_dag_each.OneDagEach")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test alone, and long enough " * 2)
        yield apps.create_app(apps="core")
    apps.purge_cached_app()


@pytest.fixture
def cookies(app: Any) -> Any:
    """Return the cookies of a user who has signed in."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def cookies(user: str = "all") -> dict[str, str]:
        signed_in = SimpleAuthManagerUser(username=user, role="viewer")
        return {"_token": get_auth_manager().generate_jwt(signed_in)}

    return cookies


@pytest.fixture
def ask(app: Any, cookies: Any) -> Any:
    """Ask for a page of the view, as a user whose cookie says so."""
    from starlette.testclient import TestClient

    def ask(dag: str, user: str | None = "all", route: str = "images", **query: Any) -> Any:
        client = TestClient(app, follow_redirects=False, cookies=cookies(user) if user else {})
        return client.get(f"/oxen/{route}/{dag}", params=query)

    return ask


class Page(HTMLParser):
    """What a browser would make of a page: elements, and texts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def generated(run_dag: Any, connected: Any, tmp_path: Any) -> Any:
    """Run a Dag of one task that generates."""

    def generated(dag_id: str, *tasks: str, **arguments: Any) -> Any:
        from airflow.providers.common.compat.sdk import DAG

        kind = ImageBatchGenerateOperator if "prompts" in arguments else ImageGenerateOperator
        given = {"prompt": "A red cube", **arguments} if kind is ImageGenerateOperator else arguments
        with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1)) as dag:
            for task_id in tasks or ("hero",):
                kind(
                    task_id=task_id, model="z-image-turbo", storage_path=f"{tmp_path}/{task_id}/",
                    **{"use_queue": False, **given},
                )  # fmt: skip
        return run_dag(dag)

    return generated


def test_an_image_is_shown_with_its_facts_and_its_task(generated, ask):
    run = generated("gallery_facts", prompt="A red cube on white", seed=7, use_queue=True, poll_interval=0.1)
    shown = ask("gallery_facts")
    page = Page(shown.text)

    assert shown.status_code == 200
    (picture,) = page.all("img")
    assert re.fullmatch(r"data:image/webp;base64,[A-Za-z0-9+/=]+", picture["src"] or "")
    assert picture["alt"] == "A red cube on white"
    for text in ("z-image-turbo", "1,024 × 1,024", "$0.01", "Generated"):
        assert text in page.text
    image = run.xcom("hero")["images"][0]
    assert image["path"] in page.text
    run_id = run.dag_run.run_id
    at = f"/dags/gallery_facts/runs/{run_id.replace(':', '%3A').replace('+', '%2B')}"
    assert [a["href"] for a in page.all("a") if "data-task" in a] == [at, f"{at}/tasks/hero"]


@pytest.mark.parametrize("query", [{}, {"task_id": "hero"}, {"task_id": "hero", "map_index": "-1"}])
def test_a_run_and_a_task_have_pages_of_their_own(generated, ask, query):
    run = generated("gallery_pages")

    assert len(Page(ask("gallery_pages", run_id=run.dag_run.run_id, **query).text).all("img")) == 1
    assert not Page(ask("gallery_pages", run_id="another").text).all("img")
    assert not Page(ask("gallery_pages", run_id=run.dag_run.run_id, task_id="another").text).all("img")


def test_nobody_without_a_session_sees_anything(generated, ask):
    generated("gallery_closed", prompt="A secret cube")
    shown = ask("gallery_closed", user=None)

    assert shown.status_code == 401
    assert "secret" not in shown.text
    assert "data:image" not in shown.text


def test_nobody_sees_the_images_of_a_dag_that_is_closed_to_them(generated, ask):
    generated("gallery_mine", prompt="A secret cube")

    assert ask("gallery_mine", user="gallery_mine").status_code == 200
    shown = ask("gallery_mine", user="gallery_other")
    assert shown.status_code == 403
    assert "secret" not in shown.text


@pytest.mark.parametrize("dag_id", ["~", "%7E", " ", "%20", ""])
def test_all_dags_at_once_are_no_dag(ask, dag_id):
    assert ask(dag_id).status_code == 404


def test_the_dag_of_the_path_decides_whatever_the_query_says(generated, ask):
    run = generated("gallery_first", prompt="A secret cube")

    for query in ({}, {"run_id": run.dag_run.run_id}, {"run_id": run.dag_run.run_id, "task_id": "hero"}):
        shown = ask("gallery_second", user="gallery_second", dag_id="gallery_first", **query)
        assert shown.status_code == 200
        assert "secret" not in shown.text


def test_a_prompt_full_of_markup_is_text(generated, ask):
    generated("gallery_markup", prompt=MARKUP)
    shown = ask("gallery_markup")
    page = Page(shown.text)

    assert MARKUP in page.text
    assert [script["src"] for script in page.all("script")] == [
        "/oxen/shared/filter.js",
        "/oxen/page/images.js",
    ]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_the_browser_is_told_to_load_nothing_else_and_to_run_nothing_else(ask):
    policy = ask("gallery_policy").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert ask("gallery_policy").headers["cache-control"] == "no-store"


def test_a_page_is_packed_where_the_browser_takes_that(ask, app, cookies):
    from starlette.testclient import TestClient

    plain = TestClient(app, cookies=cookies(), headers={"Accept-Encoding": "identity"})
    told, packed = plain.get("/oxen/images/gallery_nothing"), ask("gallery_nothing")

    assert told.text == packed.text
    assert [got.headers.get("content-encoding") for got in (told, packed)] == [None, "gzip"]


def test_a_dag_without_images_says_so(ask):
    assert "No image was made" in Page(ask("gallery_nothing").text).text


def test_a_failed_task_says_so_and_what_was_asked_for(generated, ask, connected):
    connected.settings.credits = 0.0
    run = generated("gallery_failed", prompt="A cube that nobody pays for")
    page = Page(ask("gallery_failed").text)

    assert run.state == "failed"
    assert "Failed" in page.text
    assert "A cube that nobody pays for" in page.text
    assert "Nothing spent" in page.text
    assert run.ti("hero").xcom_pull(task_ids="hero", key=FACTS)["error"] in page.text
    assert not page.all("img")


def test_failures_of_the_whole_run_come_first_and_are_counted_on_every_page(
    generated, ask, connected, monkeypatch
):
    from airflow_provider_oxen.plugins import view

    monkeypatch.setattr(view, "PAGE", 2)
    connected.fail(Fault("status", status=422, on="generate", prompt="broken", times=None))
    prompts = ["A cube", "A broken cube"]
    for _ in range(2):
        generated("gallery_order", prompts=prompts, on_error="continue")
    pages = [Page(ask("gallery_order", offset=n).text) for n in (0, 1)]

    # The newest run comes first.
    states = [[tile.get("data-state") for tile in page.all("li") if "data-tile" in tile] for page in pages]
    assert states == [["Done with failures", "Reused"], ["Done with failures", "Generated"]]
    for page in pages:
        assert "2 images" in page.text
        assert "2 failed" in page.text


def test_a_batch_that_fails_after_a_deferral_shows_what_is_known_of_its_rows(generated, ask, monkeypatch):
    def load(*_: Any) -> bool:
        raise OxenStoreUnavailable("The store does not answer.")

    monkeypatch.setattr(Results, "load", load)
    run = generated(
        "gallery_cut_short", prompts=["A cube", "A cone", "A ball"], deferrable=True, use_queue=True
    )
    page = Page(ask("gallery_cut_short", run_id=run.dag_run.run_id).text)

    assert run.state == "failed"
    assert "0 images of this run, 3 unknown." in page.text
    assert "0 of 3 prompts have an image" in page.text
    assert "The store does not answer." in page.text
    assert "Perhaps paid" in page.text


def test_a_batch_that_fails_before_it_knows_its_rows_is_not_counted(generated, ask):
    run = generated("gallery_uncounted", prompts="/there/is/no/such.jsonl")
    page = Page(ask("gallery_uncounted", run_id=run.dag_run.run_id).text)

    assert run.state == "failed"
    assert "0 images of this run." in page.text
    assert "Not counted: 1 batch that failed" in page.text
    assert "is not known" in page.text


def test_failures_of_a_run_come_first(generated, ask, connected):
    connected.fail(Fault("status", status=422, on="generate", prompt="broken", times=None))
    run = generated(
        "gallery_first_failed", "a", "b", prompts=["A broken cube", "A cube"], on_error="continue"
    )
    shown = ask("gallery_first_failed", run_id=run.dag_run.run_id).text

    assert shown.index("A broken cube") < shown.index("<img ")


def test_failures_come_before_all_images_wherever_their_tasks_stand(generated, ask, monkeypatch):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    from airflow_provider_oxen.plugins import view

    run = generated("gallery_last", "a", "b", "c")
    with create_session() as session:
        for ti in session.query(TaskInstance).filter_by(dag_id="gallery_last"):
            ti.state = "success" if ti.task_id == "a" else "failed"

    def tiles() -> list[Any]:
        page = Page(ask("gallery_last", run_id=run.dag_run.run_id).text)
        return [(tile["data-task"], tile["data-state"]) for tile in page.all("li") if "data-tile" in tile]

    images = [("b", "Generated"), ("c", "Generated"), ("a", "Generated")]
    assert tiles() == [("b", "Failed"), ("c", "Failed"), *images]
    # Each of the two has a tile for itself and one for its image.
    monkeypatch.setattr(view, "PAGE", 4)
    assert tiles() == [("b", "Failed"), ("c", "Failed"), *images[:2]]


def test_only_so_many_tasks_are_looked_at(generated, ask, monkeypatch):
    from airflow_provider_oxen.plugins import query, view

    for module in (query, view):
        monkeypatch.setattr(module, "MOST", 1)
    generated("gallery_cut", "one", "two")
    page = Page(ask("gallery_cut").text)

    assert len(page.all("img")) == 1
    assert "Only the first" in page.text


def test_what_is_under_way_tells_its_try_and_since_when(ask, generated):
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    generated("gallery_open")
    for ago, words in ((5, "5 s"), (65, "1 min 5 s"), (7260, "2 h 1 min")):
        with create_session() as session:
            (ti,) = session.query(TaskInstance).filter_by(dag_id="gallery_open").all()
            ti.state, ti.try_number, ti.start_date = "running", 2, datetime.now(UTC) - timedelta(seconds=ago)
        page = Page(ask("gallery_open").text)
        assert "Try 2" in page.text
        assert words[:-2] in page.text
        assert "data-open" in dict(page.elements)["body"]


ORIGINAL = {"task_id": "hero", "image": 0}


def test_an_original_is_streamed_where_its_folder_is_allowed(generated, ask, tmp_path, monkeypatch):
    run = generated("gallery_original")
    asked = {"route": "original", "run_id": run.dag_run.run_id, **ORIGINAL}
    assert ask("gallery_original", **asked).status_code == 404
    assert not any("data-original" in tile for tile in Page(ask("gallery_original").text).all("li"))

    monkeypatch.setenv("AIRFLOW__OXEN__VIEW_ORIGINALS", f"/elsewhere/,{tmp_path}/")
    (tile,) = Page(ask("gallery_original").text).all("li")
    assert (tile["data-original"] or "").startswith("/oxen/original/gallery_original?run_id=")
    got = ask("gallery_original", **asked)
    image = run.xcom("hero")["images"][0]
    assert got.status_code == 200
    assert sha256(got.content).hexdigest() == image["sha256"]
    assert got.headers["content-type"] == image["media_type"]
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("user", "changes", "status"),
    [
        (None, {}, 401),
        ("gallery_other", {}, 403),
        ("all", {"image": 7}, 404),
        ("all", {"image": -1}, 404),
        ("all", {"task_id": "another"}, 404),
        ("all", {"run_id": "another"}, 404),
        ("all", {"map_index": "3"}, 404),
        ("all", {"path": "/etc/passwd", "map_index": "-1"}, 200),
    ],
)
def test_an_original_is_for_those_who_may_see_the_dag_and_never_of_a_path_that_they_name(
    generated, ask, tmp_path, monkeypatch, user, changes, status
):
    monkeypatch.setenv("AIRFLOW__OXEN__VIEW_ORIGINALS", f"{tmp_path}/")
    run = generated("gallery_closed_original")
    asked = {"run_id": run.dag_run.run_id, **ORIGINAL, **changes}

    got = ask("gallery_closed_original", user=user, route="original", **asked)
    assert got.status_code == status
    assert got.headers["content-type"].startswith("image/" if status == 200 else "application/json")


def test_a_file_that_is_no_image_is_not_shown_and_not_told_of(generated, ask, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__OXEN__VIEW_ORIGINALS", f"{tmp_path}/")
    run = generated("gallery_page")
    Path(run.xcom("hero")["images"][0]["path"]).write_text("<script>alert(1)</script>")
    asked = {"route": "original", "run_id": run.dag_run.run_id, **ORIGINAL}
    bad = ask("gallery_page", **asked)
    gone = ask("gallery_page", **asked | {"task_id": "another"})

    assert (bad.status_code, bad.text) == (gone.status_code, gone.text)


def test_many_viewers_of_a_slow_store_hold_nothing_up(generated, app, cookies, tmp_path, monkeypatch):
    from airflow_provider_oxen.plugins import originals, pool

    # However long the server takes until it has looked at all of them.
    monkeypatch.setattr(pool, "PATIENCE", 600)
    monkeypatch.setenv("AIRFLOW__OXEN__VIEW_ORIGINALS", f"{tmp_path}/")
    answers = Event()

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(read=lambda size: answers.wait(600) and b"")

    monkeypatch.setattr(originals, "_opened", opened)
    run = generated("gallery_slow")
    asked = {"run_id": run.dag_run.run_id, **ORIGINAL}

    async def ask() -> list[Any]:
        server = httpx.ASGITransport(app)
        # As many as the server has threads, and more.
        async with httpx.AsyncClient(transport=server, base_url="http://airflow", cookies=cookies()) as http:
            viewers = [
                asyncio.create_task(http.get("/oxen/original/gallery_slow", params=asked)) for _ in range(60)
            ]
            try:
                async with asyncio.timeout(10):
                    page = await http.get("/oxen/images/gallery_slow")
                    health = await http.get("/api/v2/version")
                while sum(viewer.done() for viewer in viewers) < len(viewers) - PLACES:
                    await asyncio.sleep(0.05)
            finally:
                answers.set()
            assert (page.status_code, health.status_code) == (200, 200)
            return await asyncio.gather(*viewers)

    told = asyncio.run(ask())
    # What is empty is no image.
    assert Counter(got.status_code for got in told) == {503: 60 - PLACES, 404: PLACES}
    assert {got.headers.get("retry-after") for got in told if got.status_code == 503} == {"5"}


def test_a_page_is_light():
    files = [path for folder in (PAGE, SHARED) for path in folder.iterdir() if path.suffix in (".js", ".css")]

    assert len(files) == 4
    assert sum(path.stat().st_size for path in files) <= 40_000


def test_a_batch_shows_its_first_images_and_says_how_many_more(generated, ask):
    prompts = [{"id": f"c{n:02}", "prompt": f"{n} red cubes"} for n in range(1, MAX_IMAGES + 4)]
    run = generated("gallery_batch", prompts=prompts)
    page = Page(ask("gallery_batch").text)

    assert run.state == "success"
    assert len(page.all("img")) == MAX_IMAGES
    assert "3 more of this task" in page.text
    assert [image["id"] for image in run.ti("hero").xcom_pull(task_ids="hero", key=KEY)["images"]] == [
        line["id"] for line in prompts[:MAX_IMAGES]
    ]


def test_nothing_is_pushed_where_it_is_not_wanted(generated, ask):
    run = generated("gallery_unwanted", previews=False)

    assert run.ti("hero").xcom_pull(task_ids="hero", key=KEY) is None
    assert "It pushed no previews" in Page(ask("gallery_unwanted").text).text


def test_pages_hold_two_hundred_and_lead_on(generated, ask, monkeypatch):
    from airflow_provider_oxen.plugins import view as module

    monkeypatch.setattr(module, "PAGE", 30)
    generated("gallery_long", "one", "two", prompts=[f"{n} cubes" for n in range(MAX_IMAGES)])
    first = Page(ask("gallery_long").text)
    following = [a["href"] for a in first.all("a") if a.get("rel") == "next"]

    assert len(first.all("img")) == MAX_IMAGES
    assert following == ["?offset=1"]
    second = Page(ask("gallery_long", offset=1).text)
    assert len(second.all("img")) == MAX_IMAGES
    assert [a["href"] for a in second.all("a") if "?" in (a["href"] or "")] == ["?offset=0"]


def test_an_index_that_no_database_holds_is_no_error(ask):
    for index in ("99999999999999999999", "9" * 5000, "-99999999999999999999", "٣", "1_0"):
        assert ask("gallery", map_index=index).status_code == 200


@pytest.mark.parametrize("query", [{"run_id": "a\0b"}, {"task_id": "\0"}])
def test_a_name_that_no_database_takes_is_nobodys(ask, query):
    assert ask("gallery", **query).status_code == 404


def test_what_is_longer_than_any_of_ours_is_not_fetched(generated, ask, monkeypatch):
    from airflow.utils.session import create_session

    from airflow_provider_oxen.plugins import query
    from airflow_provider_oxen.plugins.rows import Row

    monkeypatch.setattr(query, "LONGEST", 10)
    monkeypatch.setattr(query, "LARGEST_FACTS", 10)
    run = generated("gallery_fetched")
    page = Page(ask("gallery_fetched").text)

    assert "not readable here" in page.text
    assert "Not counted: 1 task without a summary" in page.text
    with create_session() as session:
        execute = session.execute
        rows: list[Any] = []

        def fetch(asked: Any) -> list[Any]:
            rows.extend(execute(asked))
            return rows

        monkeypatch.setattr(session, "execute", fetch)
        query.pushed(session, "gallery_fetched", [Row(run.dag_run.run_id, "hero", -1, "success")])
    assert [value for _, _, _, value, _ in rows] == [None]
