"""A folder that was listed once: what it asks of the store, and what it must not take for granted."""

from __future__ import annotations

import io

import pytest

from airflow_provider_oxen.images.known import KnownFolder, Listing
from airflow_provider_oxen.images.storage import LocalFolder

MARK = "0123456789abcdef.1"


class Counting(LocalFolder):
    """Notes what is asked."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.asked: list[str] = []

    def read(self, name):
        self.asked.append(f"read {name}")
        return super().read(name)

    def size(self, name):
        self.asked.append(f"size {name}")
        return super().size(name)

    def clean(self, mark):
        self.asked.append(f"clean {mark}")
        super().clean(mark)


@pytest.fixture
def folder(tmp_path) -> Counting:
    (tmp_path / "a.json").write_bytes(b"{}")
    (tmp_path / ".b.png.fedcba9876543210.2.part").write_bytes(b"half")
    return Counting(str(tmp_path))


def known(folder: Counting, **more: bool) -> KnownFolder:
    return KnownFolder(folder, Listing(folder.names()), **more)


def test_what_was_not_listed_is_not_asked_for(folder):
    one = known(folder)

    assert (one.read("b.json"), one.size("b.json"), one.read("a.json"), one.size("a.json")) == (
        None,
        None,
        b"{}",
        2,
    )
    assert folder.asked == ["read a.json", "size a.json"]


def test_what_it_wrote_is_there(folder):
    one = known(folder)
    one.put("b.png", io.BytesIO(b"image"), MARK)
    assert one.create("c.json", b"{}", MARK)
    assert not one.create("a.json", b"[]", MARK)

    assert (one.size("b.png"), one.read("c.json"), one.read("a.json")) == (5, b"{}", b"{}")
    with one.open("b.png") as file:
        assert file.read() == b"image"
    one.remove("b.png")
    assert one.size("b.png") is None


def test_what_somebody_else_may_have_written_meanwhile_is_asked_for(folder, tmp_path):
    alone, shared = known(folder), known(folder, shared=True)
    (tmp_path / "later.json").write_bytes(b"{}")

    assert (alone.read("later.json"), shared.read("later.json")) == (None, b"{}")


def test_unfinished_files_are_looked_for_where_the_listing_has_any(folder):
    one = known(folder)
    one.clean(MARK)
    one.clean("fedcba9876543210.3")

    assert folder.asked == ["clean fedcba9876543210.3"]
    assert list(folder.names()) == ["a.json"]


def test_it_is_the_folder_otherwise(folder, tmp_path):
    one = known(folder)
    one.check()

    assert one.uri("a.json") == folder.uri("a.json")
    assert one.asset_uri("a.json") == (tmp_path / "a.json").as_uri()
    assert sorted(one.names()) == sorted(folder.names())
    (tmp_path / "inside").mkdir()
    assert [one.is_folder(name) for name in ("inside", "a.json")] == [True, False]


def test_listing_of_nothing_has_nothing():
    empty = Listing([])

    assert not empty.has("a.json")
    assert not empty.has_unfinished(MARK)


def test_place_can_be_proved_through_it(folder):
    one = known(folder)

    assert one.prove(MARK)
    assert set(folder.names()) == {"a.json", ".b.png.fedcba9876543210.2.part"}
