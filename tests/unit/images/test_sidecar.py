"""A sidecar says what is at a place; what is doubtful is never taken and never covered."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenOutputDamaged, OxenOutputExists
from airflow_provider_oxen.images import sidecar
from airflow_provider_oxen.images.media import SUFFIXES

from .conftest import SIGNATURE, FlakyFolder, failing

SIGNED = f"https://user:{SIGNATURE}@hub.example/in.png?X-Signature={SIGNATURE}#{SIGNATURE}"


def record(stem: str, **changes: Any) -> dict[str, Any]:
    facts = {
        "fingerprint": "f1",
        "model": "z-image-turbo",
        "run_id": "run 1",
        "file": f"{stem}.png",
        "media_type": "image/png",
        "width": 16,
        "height": 12,
        "bytes": 5,
        "sha256": hashlib.sha256(b"image").hexdigest(),
    }
    return {name: value for name, value in {**facts, **changes}.items() if value is not ...}


def write(folder: FlakyFolder, stem: str, image: bytes | None = b"image", **changes: Any) -> dict[str, Any]:
    """Put an image with its sidecar into the folder; ``...`` takes a field away."""
    facts = record(stem, **changes)
    if image is not None:
        (folder.path / f"{stem}.png").write_bytes(image)
    (folder.path / f"{stem}.json").write_bytes(sidecar.dump(facts))
    return {"format": sidecar.FORMAT, **facts}


def write_answer(folder: FlakyFolder, count: int = 3, **changes: Any) -> list[dict[str, Any]]:
    """Put a finished answer of several images into the folder."""
    stems = ["hero", "hero-2", "hero-3"][:count]
    first: dict[str, Any] = {"stems": stems, "images": count}
    return [write(folder, stem, **(first if stem == "hero" else {}), **changes) for stem in stems]


def find(folder: FlakyFolder, fingerprint: str = "f1", **options: Any) -> Any:
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    try:
        return sidecar.find(folder, "hero", fingerprint, **{"overwrite": False, **options})
    finally:
        assert {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()} == before


def refusal(folder: FlakyFolder, fingerprint: str = "f1", **options: Any) -> str:
    with pytest.raises(OxenOutputExists) as caught:
        find(folder, fingerprint, **options)
    assert str(folder.path) in caught.value.message
    assert caught.value.spent == "no"
    assert caught.value.spent == "no"
    return caught.value.message


# What it holds.


def test_sidecar_stands_beside_the_image():
    assert sidecar.name_of("hero.v2") == "hero.v2.json"


def test_sidecar_is_json_for_people_with_its_format():
    content = sidecar.dump({"prompt": "Ein Würfel 🎲", "seed": 42})

    assert json.loads(content) == {"format": sidecar.FORMAT, "prompt": "Ein Würfel 🎲", "seed": 42}
    assert "Ein Würfel 🎲" in content.decode()
    assert content.count(b"\n") == 5


@pytest.mark.parametrize("said", ["model", "generation_id", "revised_prompt", "rejected"])
def test_no_signed_query_of_the_hub_s_words_gets_into_a_sidecar(said):
    content = sidecar.dump({said: f"As {SIGNED}", "request": {"prompt": "A cube"}})

    assert SIGNATURE.encode() not in content
    assert b"/in.png" in content


LETTER = [
    "//me@home",
    "mail a@b/c, or https://user:pw@example.com/?a=1#b",
    "Is it red? #1",
    "size=16x9?seed=7",
    "a/b?c\n#d",
    "\\/\\/me@home",
    f"  {SIGNED}\n",
]


@pytest.mark.parametrize("text", LETTER)
def test_request_is_told_to_the_letter(text):
    request = {"prompt": text, "model": text, "style": [text, {"deep": text}], "seed": 7, "size": None}
    facts = {
        "request": request,
        "model": text,
        "run_id": text,
        "file": "hero?v=1#2.png",
        "stems": ["hero?v=1#2"],
    }

    assert json.loads(sidecar.dump(facts)) == {"format": sidecar.FORMAT, **facts}


# What is found.


def test_free_place(folder):
    assert find(folder) is None
    assert find(folder, overwrite=True) is None


def test_finished_output_of_the_same_request_is_returned(folder):
    kept = write(folder, "hero")

    assert find(folder) == [kept]


def test_all_images_of_an_answer_are_returned_in_its_order(folder):
    assert find(folder, "f1") is None
    kept = write_answer(folder)

    assert find(folder) == kept


def test_output_of_another_request_that_names_nobody_is_refused_all_the_same(folder):
    write_answer(folder)
    path = folder.path / "hero.json"
    named = ("dag_id", "task_id", "run_id", "model")
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name not in named})
    )

    assert "describes the image of another request (its sidecar does not say whose)." in refusal(folder, "f2")


def test_names_in_a_strangers_sidecar_stay_on_one_line(folder):
    write_answer(folder)
    path = folder.path / "hero.json"
    link = "https://store.example/a?sig=0123456789"
    odd = {"dag_id": f"shop\n{'x' * 1000}", "task_id": ["hero"], "run_id": link}
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))

    refused = refusal(folder, "f2")

    assert "(Dag 'shop xxx" in refused
    assert "task" not in refused
    assert "0123456789" not in refused
    assert "\n" not in refused
    assert len(refused) < 600


def test_output_of_another_request_is_refused_and_named(folder):
    write_answer(folder)
    path = folder.path / "hero.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"dag_id": "shop", "task_id": "banner"}))

    refused = refusal(folder, "f2")
    writer = "Dag 'shop', task 'banner', run 'run 1', model 'z-image-turbo'"
    assert f"hero.json describes the image of another request ({writer})." in refused
    assert "overwrite=True" in refused


@pytest.mark.parametrize("fingerprint", ["f1", "f2"])
def test_overwrite_takes_any_finished_output_for_a_free_place(folder, fingerprint):
    write_answer(folder)

    assert find(folder, fingerprint, overwrite=True) is None


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_image_without_a_sidecar_is_somebody_elses(folder, suffix, overwrite):
    (folder.path / f"hero{suffix}").write_bytes(b"theirs")

    assert f"hero{suffix} is there already, without the sidecar" in refusal(folder, overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"format": "other/1", "fingerprint": "f1"}',
        b'{"fingerprint": "f1"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=range(10),
)
def test_json_that_is_no_sidecar_is_somebody_elses(folder, content, overwrite):
    (folder.path / "hero.json").write_bytes(content)
    (folder.path / "hero.png").write_bytes(b"image")

    assert "hero.json is there already and is not a sidecar" in refusal(folder, overwrite=overwrite)


def test_image_that_is_gone_is_told(folder):
    write(folder, "hero", image=None)

    assert "hero.json is there, but its image hero.png is gone" in refusal(folder)
    assert find(folder, overwrite=True) is None


def test_image_of_another_size_is_told(folder):
    write(folder, "hero", image=b"cut")

    assert "its image hero.png has 3 bytes instead of 5" in refusal(folder)


@pytest.mark.parametrize("name", ["hero-2.json", "hero-3.json"])
def test_missing_sidecar_of_a_further_image_is_told(folder, name):
    write_answer(folder)
    (folder.path / name).unlink()

    assert f"{name} is missing or unfinished" in refusal(folder)


def test_further_sidecar_that_is_not_ours_is_told(folder):
    write_answer(folder)
    (folder.path / "hero-2.json").write_text("{}")

    assert "hero-2.json is missing or unfinished" in refusal(folder)


def test_further_image_that_is_gone_is_told(folder):
    write_answer(folder)
    (folder.path / "hero-3.png").unlink()

    assert "hero-3.png is gone" in refusal(folder)


def test_further_image_that_another_request_has_covered_is_told(folder):
    write_answer(folder)
    write(folder, "hero-2", fingerprint="f2")

    assert "hero-2.json describes the image of another request now" in refusal(folder)


@pytest.mark.parametrize("images", [4, 2, None, "3"])
def test_output_that_misses_paid_images_is_told(folder, images):
    write_answer(folder)
    write(folder, "hero", stems=["hero", "hero-2", "hero-3"], images=images)

    assert f"names 3 kept of {images} paid images" in refusal(folder)


def test_output_that_is_being_replaced_is_unfinished(folder):
    write(folder, "hero", replacing=True, stems=["hero", "hero-2"])

    assert "hero.json is missing or unfinished: an earlier try was stopped" in refusal(folder)
    assert find(folder, overwrite=True) is None


# Sidecars that somebody has changed.


@pytest.mark.parametrize(
    "stems",
    [
        [],
        "hero",
        {"hero": 1},
        1,
        [None],
        [1],
        ["../hero"],
        ["/etc/passwd"],
        ["hero", "a/b"],
        [""],
        [".hero"],
        ["a\x00b"],
        ["hero", "hero"],
        [f"hero-{n}" for n in range(1001)],
    ],
)
def test_stems_never_lead_out_of_the_folder(folder, stems):
    write_answer(folder)
    path = folder.path / "hero.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "stems": stems, "images": 1}))

    assert "hero.json is damaged: it does not name its images" in refusal(folder)


def test_half_a_character_in_a_name_leads_nowhere(folder):
    for changes in ({"stems": ["\ud800"], "images": 1}, {"file": "\ud800"}, {"stems": ["hero", "\ud800"]}):
        write(folder, "hero", file=...)
        path = folder.path / "hero.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

        assert "Set overwrite=True" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    ["../hero.png", "/etc/passwd", "a/b.png", r"..\hero.png", "", ".", "..", ".hero.png", "a\nb", "a\x00b"],
)
def test_file_never_leads_out_of_the_folder(folder, name):
    write(folder, "hero", file=...)
    path = folder.path / "hero.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "file": name}))
    asked: list[str] = []
    folder.failing = lambda kind, asked_for: asked.append(asked_for)

    assert "hero.json is damaged: look at file" in refusal(folder)
    assert set(asked) == {"hero.json"}


@pytest.mark.parametrize("name", ["file", "media_type", "width", "height", "bytes", "sha256"])
@pytest.mark.parametrize("value", [..., None, ["x"]])
def test_record_without_its_facts_is_damaged(folder, name, value):
    write(folder, "hero", image=None, **{name: value})

    assert f"hero.json is damaged: look at {name}." in refusal(folder)


def test_rejected_bytes_are_no_image(folder):
    (folder.path / "hero.rejected").write_bytes(b"image")
    rejected: dict[str, Any] = {name: ... for name in ("media_type", "width", "height")}
    write(folder, "hero", file="hero.rejected", rejected="an HTML page", **rejected)

    assert "damaged" in refusal(folder)


def test_longest_names_are_found_again(folder):
    stem = "x" * 180
    kept = write(folder, f"{stem}-2-0123456789abcdef")
    first = write(folder, stem, stems=[stem, f"{stem}-2-0123456789abcdef"], images=2)

    assert sidecar.find(folder, stem, "f1", overwrite=False) == [first, kept]


# Could not read is never there is none.


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(("kind", "ending"), [("read", "hero.json"), ("size", ".webp"), ("size", ".avif")])
def test_store_that_cannot_tell_is_no_free_place(folder, kind, ending, overwrite):
    folder.failing = failing(kind, ending)

    with pytest.raises(OSError, match="on fire"):
        find(folder, overwrite=overwrite)
    with pytest.raises(OSError, match="on fire"):
        sidecar.is_free(folder, "hero")


@pytest.mark.parametrize(
    ("kind", "ending"), [("read", "hero-2.json"), ("size", "hero.png"), ("size", "hero-3.png")]
)
def test_store_that_cannot_tell_is_no_missing_image(folder, kind, ending):
    write_answer(folder)
    folder.failing = failing(kind, ending)

    with pytest.raises(OSError, match="on fire"):
        find(folder)


# What may be written to.


def test_place_is_free_without_sidecar_and_image(folder):
    assert sidecar.is_free(folder, "hero")
    (folder.path / "hero-2.png").touch()
    (folder.path / "hero.rejected").touch()
    (folder.path / "hero.txt").touch()
    assert sidecar.is_free(folder, "hero")


@pytest.mark.parametrize("name", ["hero.json", *sorted(f"hero{suffix}" for suffix in SUFFIXES)])
def test_place_is_not_free_whatever_is_there(folder, name):
    Path(folder.path, name).touch()

    assert not sidecar.is_free(folder, "hero")


def test_output_names_the_places_and_the_files_that_it_takes(folder):
    assert sidecar.parts_of(folder, "hero") == (["hero"], [])
    write_answer(folder)
    stems, files = sidecar.parts_of(folder, "hero")
    assert stems == ["hero", "hero-2", "hero-3"]
    assert [name.rpartition(".")[0] for name in files] == stems
    write(folder, "hero", replacing=True, stems=["hero", "hero-2"], files=["hero.gif", "hero-2.gif"])
    assert sidecar.parts_of(folder, "hero") == (["hero", "hero-2"], ["hero.gif", "hero-2.gif"])
    write(folder, "hero", stems=["../hero"])
    assert sidecar.parts_of(folder, "hero")[0] == ["hero"]
    (folder.path / "hero.json").write_text("{}")
    assert sidecar.parts_of(folder, "hero") == (["hero"], [])


def test_output_tells_which_try_of_whom_has_finished_it(folder):
    assert sidecar.made_by(folder, "hero") == ("", 0, None)
    write(folder, "hero", identity="abc", clearing=3)
    assert sidecar.made_by(folder, "hero") == ("abc", 3, None)
    write(folder, "hero", identity="abc", clearing=3, replacing=True)
    assert sidecar.made_by(folder, "hero") == ("", 0, None)
    write(folder, "hero", identity="abc", clearing="the third of run 1")
    assert sidecar.made_by(folder, "hero") == ("abc", "the third of run 1", None)
    write(folder, "hero", identity="abc", clearing=[3])
    assert sidecar.made_by(folder, "hero") == ("", 0, None)
    write(folder, "hero", identity="abc", clearing=3, clear_number=2)
    assert sidecar.made_by(folder, "hero") == ("abc", 3, 2)


# What an earlier try of the same job has left.


def test_image_that_this_job_has_written_is_no_strangers(folder):
    (folder.path / "hero.png").write_bytes(b"half of ours")

    assert find(folder, own_files=("hero.png",)) is None
    assert sidecar.is_free(folder, "hero", ("hero.png",))
    assert not sidecar.is_free(folder, "hero", ("hero-2.png",))
    assert "without the sidecar" in refusal(folder, own_files=("hero-2.png",))


def test_sidecar_of_this_jobs_unfinished_answer_is_written_over(folder):
    write(folder, "hero", identity="abc", stems=["hero"], images=2)

    assert find(folder, own_files=("hero.png",), identity="abc") is None
    assert sidecar.is_free(folder, "hero", ("hero.png",), "abc")
    assert "1 kept of 2 paid images" in refusal(folder)


@pytest.mark.parametrize(
    ("ours", "identity"), [(("hero.png",), "another"), ((), "abc"), (("hero.webp",), "abc")], ids=repr
)
def test_sidecar_of_another_task_is_not_ours_although_we_had_claimed_its_name(folder, ours, identity):
    write(folder, "hero", identity="abc", stems=["hero"], images=2)

    assert "1 kept of 2 paid images" in refusal(folder, own_files=ours, identity=identity)
    assert not sidecar.is_free(folder, "hero", ours, identity)


def test_this_jobs_finished_answer_is_found_and_not_written_over(folder):
    first, *_ = write_answer(folder, identity="abc")

    found = find(folder, own_files=("hero.png",), identity="abc")

    assert found[0] == first
    assert len(found) == 3


def test_job_of_a_finished_output_is_told_and_of_an_unfinished_one_is_not(folder):
    assert sidecar.job_of(folder, "hero") == ("", "")
    write(folder, "hero", identity="abc", job="0123")
    assert sidecar.job_of(folder, "hero") == ("abc", "0123")
    write(folder, "hero", identity="abc", job="0123", replacing=True)
    assert sidecar.job_of(folder, "hero") == ("", "")


# What is handed out is what was written.


@pytest.mark.parametrize("linked", [False, True], ids=["file", "link"])
def test_image_of_other_bytes_is_not_handed_out(folder, linked, tmp_path):
    write(folder, "hero")
    image = folder.path / "hero.png"
    assert find(folder)[0]["file"] == "hero.png"
    if linked:
        (tmp_path / "elsewhere").write_bytes(b"image")
        image.unlink()
        image.symlink_to(tmp_path / "elsewhere")
        assert find(folder)[0]["file"] == "hero.png"

    (tmp_path / "elsewhere" if linked else image).write_bytes(b"egami")

    assert "hero.png has other bytes: its sha256" in refusal(folder)


def test_further_image_of_other_bytes_is_not_handed_out(folder):
    write_answer(folder)
    (folder.path / "hero-3.png").write_bytes(b"egami")

    assert "hero-3.png has other bytes" in refusal(folder)


def test_image_with_a_hole_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(sidecar, "_MAX_IMAGE_BYTES", 4)
    write(folder, "hero")

    assert "hero.png has 5 bytes, and is not read" in refusal(folder)


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_loop(path: Path) -> None:
    path.symlink_to(path)


ODD = {"a folder": Path.mkdir, "a pipe": put_pipe, "a link to itself": put_loop}


@pytest.mark.parametrize("put", ODD.values(), ids=list(ODD))
def test_sidecar_that_is_no_file_is_told_and_not_waited_for(folder, put):
    put(folder.path / "hero.json")

    assert "hero.json is there already and is not a sidecar" in refusal(folder)


@pytest.mark.parametrize("put", [ODD["a folder"], ODD["a pipe"]], ids=["a folder", "a pipe"])
def test_image_that_is_no_file_is_told_and_not_waited_for(folder, put):
    put(folder.path / "hero.png")
    write(folder, "hero", image=None, bytes=(folder.path / "hero.png").stat().st_size)

    assert "hero.png cannot be read: UnreadableFile: [Errno 2" in refusal(folder)


@pytest.mark.parametrize("name", ["model", "seed", "generation_id", "preview"])
@pytest.mark.parametrize("value", [["x"], {"x": 1}, True, -1, 2**64, "x" * 70_000])
def test_what_makes_no_sense_beside_an_image_is_left_out(folder, name, value):
    write(folder, "hero")
    path = folder.path / "hero.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), name: value}))

    assert name not in find(folder)[0]


def test_damage_is_told_apart_from_another_request(folder):
    write(folder, "hero")
    with pytest.raises(OxenOutputExists) as caught:
        find(folder, "f2")
    assert not isinstance(caught.value, OxenOutputDamaged)

    (folder.path / "hero.png").unlink()
    with pytest.raises(OxenOutputDamaged):
        find(folder)


def test_image_that_goes_while_it_is_looked_at_is_told(folder, monkeypatch):
    write(folder, "hero")

    def gone(name: str, size: int) -> str:
        raise FileNotFoundError(name)

    monkeypatch.setattr(folder, "sha256", gone)

    assert "its image hero.png cannot be read: FileNotFoundError" in refusal(folder)
