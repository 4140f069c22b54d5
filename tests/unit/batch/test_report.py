"""What a batch leaves behind tells all that is known, adds up, keeps secrets, and fits in memory."""

from __future__ import annotations

import json
import tempfile
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import pytest
import time_machine

from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.report import FAILURES, FORMAT, Counts

from ..images.conftest import SIGNATURE, FlakyFolder, failing
from .lines import line_of

SIGNED = f"https://user:{SIGNATURE}@hub.example/in.png?X-Signature={SIGNATURE}#{SIGNATURE}"
PREVIEW = "data:image/jpeg;base64,/9j/4AAQ"
FACTS = {"dag_id": "shop", "run_id": "r1", "task_id": "heroes", "map_index": -1, "try_number": 2}
FILES = ["manifest.jsonl", "index.html", "summary.json"]

Pair = tuple[Mapping[str, Any], str | None]


def image(name: str = "hero.png", **changes: Any) -> dict[str, Any]:
    facts = {"media_type": "image/png", "width": 64, "height": 48, "bytes": 1000, "sha256": "ab" * 32}
    return {"path": f"s3://aws_default@bucket/out/{name}", **facts, **changes}


def result(*images: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return {"model": "z-image-turbo", "reused": False, "images": list(images) or [image()], **facts}


def generated(number: int = 1, **facts: Any) -> dict[str, Any]:
    told = result(**{"seed": 7, "generation_id": "g-1", "cost": 0.003, **facts})
    return line_of(number, f"row-{number}", "generated", "A cube", "asked-for", result=told)


def failed(number: int = 1, status: str = "failed", error: str = "No.", **more: Any) -> dict[str, Any]:
    return line_of(number, f"row-{number}", status, "A cube", "z-image-turbo", error=error) | more


def sums(*lines: Mapping[str, Any]) -> dict[str, Any]:
    counts = Counts()
    for line in lines:
        counts.add(line)
    return counts.as_json()


@pytest.fixture
def folder(tmp_path: Path) -> FlakyFolder:
    (tmp_path / "out").mkdir()
    return FlakyFolder(str(tmp_path / "out"))


def write(folder: FlakyFolder, *pairs: Pair | Mapping[str, Any], **options: Any) -> dict[str, Any]:
    lines = [pair if isinstance(pair, tuple) else (pair, None) for pair in pairs]
    return report.write(folder, "mark.1", iter(lines), **{"facts": FACTS, "finished": True, **options})


def manifest(folder: FlakyFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder.path / "manifest.jsonl").read_text("utf-8").splitlines()]


def summary(folder: FlakyFolder) -> dict[str, Any]:
    found = json.loads((folder.path / "summary.json").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


# A line.


def test_line_of_a_generated_row_tells_all_in_the_order_of_the_contract():
    assert list(generated().items()) == [
        ("line", 1),
        ("id", "row-1"),
        ("status", "generated"),
        ("prompt", "A cube"),
        ("model", "z-image-turbo"),
        ("path", "s3://aws_default@bucket/out/hero.png"),
        ("media_type", "image/png"),
        ("width", 64),
        ("height", 48),
        ("size", 1000),
        ("sha256", "ab" * 32),
        ("seed", 7),
        ("generation_id", "g-1"),
        ("cost", 0.003),
    ]


def test_line_leaves_out_what_is_not_known_and_nothing_that_is_zero():
    told = generated(seed=0, cost=0.0, generation_id=None)

    assert "generation_id" not in told
    assert (told["seed"], told["cost"]) == (0, 0.0)


def test_line_of_a_failed_row_has_no_image():
    assert list(failed().items()) == [
        ("line", 1),
        ("id", "row-1"),
        ("status", "failed"),
        ("prompt", "A cube"),
        ("model", "z-image-turbo"),
        ("error", "No."),
    ]


def test_line_names_the_model_that_was_asked_for_where_none_is_told():
    told = result()
    del told["model"]

    assert line_of(1, "a", "generated", "A cube", "asked-for", result=told)["model"] == "asked-for"


def test_line_lists_the_images_only_where_there_are_more():
    both = result(image("a.png"), image("a-2.png", bytes=5, sha256=None))
    told = line_of(1, "a", "reused", "A cube", "asked-for", result=both)

    assert told["path"] == "s3://aws_default@bucket/out/a.png"
    assert list(told)[-1] == "images"
    assert told["images"][1] == {
        "path": "s3://aws_default@bucket/out/a-2.png",
        "media_type": "image/png",
        "width": 64,
        "height": 48,
        "size": 5,
    }
    assert "images" not in generated()


# The sums.


def test_sums_have_one_shape_for_none_and_for_many():
    nothing = sums()

    assert nothing == {
        "prompts": 0,
        "generated": 0,
        "reused": 0,
        "failed": 0,
        "unknown": 0,
        "not_sent": 0,
        "cost": 0.0,
        "cost_unknown": 0,
        "bytes": 0,
        "models": [],
        "failures": [],
    }
    assert list(sums(*(generated(n) for n in range(50)), failed())) == list(nothing)


def test_rows_are_counted_by_status():
    reused = line_of(2, "b", "reused", "A cube", "flux", result=result(model="flux"))
    told = sums(generated(), reused, failed(3), failed(4, "unknown"), failed(5, not_sent=True))

    assert told["prompts"] == 5
    assert [told[name] for name in ("generated", "reused", "failed", "unknown", "not_sent")] == [
        1,
        1,
        2,
        1,
        1,
    ]
    assert told["bytes"] == 2000
    assert told["models"] == ["flux", "z-image-turbo"]


def test_cost_is_that_of_the_generated_rows_without_noise():
    reused = line_of(9, "i", "reused", "A cube", "asked-for", result=result(cost=5.0))

    assert sums(generated(cost=0.1), generated(cost=0.2), reused)["cost"] == 0.3
    assert sums(*[generated(cost=0.1)] * 100_000)["cost"] == 10_000.0
    assert sums(generated(cost=1))["cost"] == 1.0


@pytest.mark.parametrize("cost", [None, float("nan"), float("inf"), "much", [1]])
def test_cost_that_is_no_amount_is_counted_as_unknown(cost):
    told = sums(generated(cost=cost), generated(cost=0.5), generated(cost=0.0))

    assert (told["cost"], told["cost_unknown"]) == (0.5, 1)


def test_bytes_are_those_of_all_images():
    both = result(image("a.png", bytes=30), image("a-2.png", bytes=12), image("a-3.png", bytes=None))

    assert sums(line_of(1, "a", "generated", "A cube", "asked-for", result=both))["bytes"] == 42


def test_first_failures_are_told_and_the_others_counted():
    told = sums(*(failed(n, "failed" if n % 2 else "unknown") for n in range(1, 101)))

    assert told["failed"] + told["unknown"] == 100
    assert [item["line"] for item in told["failures"]] == list(range(1, FAILURES + 1))
    assert told["failures"][1] == {
        "line": 2,
        "id": "row-2",
        "status": "unknown",
        "prompt": "A cube",
        "error": "No.",
    }


def test_what_was_never_sent_takes_no_failures_place():
    unsent = [failed(n, error="Not sent.", not_sent=True) for n in range(1, 31)]
    told = sums(*unsent, *(failed(n) for n in range(31, 36)))

    assert [item["line"] for item in told["failures"]] == [*range(1, 16), *range(31, 36)]
    assert told["not_sent"] == 30


def test_errors_are_shortened_and_on_one_line():
    [short, whole, none] = sums(
        failed(error="It failed.\n " * 100), failed(error="x" * 300), failed(error="")
    )["failures"]

    assert len(short["error"]) == 300
    assert short["error"].startswith("It failed. It failed.")
    assert short["error"].endswith("…")
    assert whole["error"] == "x" * 300
    assert none["error"] == ""


def test_sums_hold_no_signed_query():
    [failure] = sums(failed(error=f"{SIGNED} {'x' * 250} {SIGNED}"))["failures"]

    assert SIGNATURE not in failure["error"]


# The files.


@time_machine.travel(datetime(2025, 11, 23, 9, 8, 7, 654321, tzinfo=UTC), tick=False)
def test_three_files_are_written_the_summary_last_and_its_figures_go_to_xcom(folder):
    told = write(folder, (generated(1), PREVIEW), failed(2))
    counted = sums(generated(1), failed(2))

    assert folder.written == FILES
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(FILES)
    assert told == {
        "manifest": str(folder.path / "manifest.jsonl"),
        "summary": str(folder.path / "summary.json"),
        "index": str(folder.path / "index.html"),
        **counted,
    }
    assert json.loads(json.dumps(told)) == told
    assert list(summary(folder).items()) == list(
        {
            "format": FORMAT,
            "finished": True,
            "written_at": "2025-11-23T09:08:07+00:00",
            **FACTS,
            **counted,
        }.items()
    )
    assert "2025-11-23 09:08 UTC" in (folder.path / "index.html").read_text("utf-8")


def test_manifest_has_a_line_for_each_row_in_order_and_nothing_beside_the_contract(folder):
    rows = [generated(n) if n % 2 else failed(n, not_sent=True, other=1) for n in range(1, 8)]
    write(folder, *rows)

    known = [{name: row[name] for name in row if name != "other"} for row in rows]
    assert manifest(folder) == known
    assert [list(line) for line in manifest(folder)] == [list(line) for line in known]
    assert summary(folder)["not_sent"] == 3


def test_lines_that_were_stored_with_other_orders_get_the_contracts(folder):
    row = generated()
    write(folder, dict(reversed(row.items())))

    assert list(manifest(folder)[0]) == list(row)


def test_an_unfinished_batch_says_so(folder):
    write(folder, failed(status="unknown"), finished=False)

    assert summary(folder)["finished"] is False
    assert "still at work" in (folder.path / "index.html").read_text("utf-8")


def test_a_batch_without_rows_is_written_too(folder):
    assert write(folder)["prompts"] == 0
    assert (folder.path / "manifest.jsonl").read_bytes() == b""


def test_texts_of_all_languages_are_readable_as_they_are(folder):
    row = generated() | {"prompt": "Ein Würfel 🎲 مكعب"}
    write(folder, row)

    assert "Ein Würfel 🎲 مكعب".encode() in (folder.path / "manifest.jsonl").read_bytes()
    assert manifest(folder) == [row]


@pytest.mark.parametrize("odd", ["\n", "\r", "\x00", "\x85", "\u2028", "\u2029", "\x1c", "\ud800", '"', "\\"])
def test_no_text_breaks_a_line(folder, odd):
    row = generated() | {"prompt": f"a{odd}b", "id": f"i{odd}"}
    write(folder, row, generated(2), facts={**FACTS, "run_id": f"r{odd}"})

    assert manifest(folder) == [row, generated(2)]
    assert summary(folder)["run_id"] == f"r{odd}"


def test_no_signed_query_of_the_hub_s_stands_anywhere(folder):
    rows = [
        line_of(1, "a", "generated", "A cube", "m", result={**result(image("a.png")), "model": SIGNED}),
        failed(2, error=f"GET {SIGNED} failed"),
        failed(3, "unknown", error=SIGNED),
    ]
    told = write(folder, *rows)

    for name in FILES:
        content = (folder.path / name).read_text("utf-8")
        assert SIGNATURE not in content
        assert "hub.example/in.png" in content
    assert SIGNATURE not in json.dumps(told)


@pytest.mark.parametrize("text", ["//me@home", "https://u@example.com/?a=1#b", "seed.png?v=7", "a/b?c#d"])
def test_what_the_user_wrote_is_told_to_the_letter(folder, text):
    told = {**result(image("a.png")), "model": text}
    facts = {**FACTS, "run_id": text}
    write(folder, line_of(1, text, "generated", text, text, result=told), facts=facts)

    [line] = manifest(folder)
    assert (line["prompt"], line["model"], line["id"]) == (text, text, text)
    assert (summary(folder)["run_id"], summary(folder)["models"]) == (text, [text])
    assert (folder.path / "index.html").read_text("utf-8").count(escape(text)) >= 4


def test_a_path_keeps_the_connection_that_it_is_opened_by(folder):
    both = result(image("a.png"), image("a-2.png"))
    write(folder, line_of(1, "a", "generated", "A cube", "asked-for", result=both))

    [line] = manifest(folder)
    assert line["path"] == "s3://aws_default@bucket/out/a.png"
    assert line["images"][1]["path"] == "s3://aws_default@bucket/out/a-2.png"


# What goes wrong.


def test_nothing_is_written_where_the_rows_break_off(folder):
    def rows() -> Iterator[Pair]:
        yield generated(), None
        raise RuntimeError("the books are gone")

    with pytest.raises(RuntimeError, match="books are gone"):
        report.write(folder, "mark.1", rows(), facts=FACTS, finished=True)
    assert list(folder.path.iterdir()) == []


@pytest.mark.parametrize(("name", "there"), [(FILES[0], []), (FILES[1], FILES[:1]), (FILES[2], FILES[:2])])
def test_no_summary_stands_without_the_rest(folder, name, there):
    folder.failing = failing("put", name)

    with pytest.raises(OSError, match="disk is on fire"):
        write(folder, generated())
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(there)


def test_unfinished_files_have_no_name_and_are_closed(folder, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    seen: list[list[Path]] = []

    def rows() -> Iterator[Pair]:
        yield generated(), PREVIEW
        seen.append(list((tmp_path / "temporary").iterdir()))

    report.write(folder, "mark.1", rows(), facts=FACTS, finished=True)
    assert seen == [[]]


def test_memory_does_not_grow_with_the_rows(folder):
    def rows(number: int) -> Iterator[Pair]:
        for n in range(1, number + 1):
            told = failed(n, error="No. " * 200) if n % 5 == 0 else generated(n)
            yield told | {"prompt": "A cube " * 20}, PREVIEW + "A" * 2000

    def peak(number: int) -> int:
        tracemalloc.start()
        try:
            report.write(folder, "mark.1", rows(number), facts=FACTS, finished=True)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    # 600 rows fill every buffer on the way; many more must need no more.
    assert peak(2_000) < peak(600) + 300_000
