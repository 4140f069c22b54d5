"""A place is proved before anything is spent: it takes files, and it refuses a second one of one name."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from airflow_provider_oxen.images import folder as folders
from airflow_provider_oxen.images.folder import PROBE
from airflow_provider_oxen.images.storage import LocalFolder

MARK = "0123456789abcdef.1"


class Place(LocalFolder):
    """A folder that behaves as told, and remembers what it was asked.

    :ivar trouble: called before each with its kind and the name.
    :ivar ignores: whether it takes a second file of one name, as some servers and old drivers do.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.trouble: Callable[[str, str], None] = lambda kind, name: None
        self.ignores = False
        self.asked: list[str] = []

    def _did(self, kind: str, name: str) -> None:
        self.asked.append(kind)
        self.trouble(kind, name)

    def _make(self, name: str, source: BinaryIO, writer_id: str) -> bool:
        self._did("make", name)
        if self.ignores:
            LocalFolder.put(self, name, source, writer_id)
            return True
        return super()._make(name, source, writer_id)

    def put(self, name: str, source: BinaryIO, writer_id: str, *, lasting: bool = True) -> None:
        self._did("put", name)
        super().put(name, source, writer_id, lasting=lasting)

    def remove(self, name: str) -> None:
        self._did("remove", name)
        super().remove(name)


def refuse(kind: str, error: Exception) -> Callable[[str, str], None]:
    def trouble(asked: str, name: str) -> None:
        if asked == kind:
            raise error

    return trouble


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(str(tmp_path))


def test_place_is_proved_once_a_process_and_nothing_stays(place):
    assert place.is_exclusive  # until it is found out
    assert place.prove(MARK)
    assert place.asked == ["make", "make", "remove"]
    assert os.listdir(place.path) == []

    again = Place(str(place.path))
    assert again.prove(MARK)
    assert again.asked == []


@pytest.mark.parametrize("kind", ["make", "put"])
@pytest.mark.parametrize("error", [PermissionError("no"), OSError(28, "No space left on device")])
def test_place_that_takes_no_file_is_an_error_and_is_asked_again_later(place, kind, error):
    if kind == "put":
        (place.path / PROBE).touch()
    place.trouble = refuse(kind, error)
    with pytest.raises(OSError, match=r"no|No space"):
        place.prove(MARK)

    place.trouble = lambda kind, name: None
    assert place.prove(MARK)


def test_store_that_ignores_the_condition_is_found_out_and_that_is_said_once(place, caplog):
    caplog.set_level(logging.WARNING)
    place.ignores = True

    assert not place.prove(MARK)
    assert not place.prove(MARK)

    assert not place.is_exclusive
    [record] = caplog.records
    assert record.getMessage().startswith(f"file://{place.path} does not refuse to overwrite a file")
    assert os.listdir(place.path) == []


@pytest.mark.parametrize("error", [NotImplementedError(), TypeError("unexpected keyword argument 'mode'")])
def test_store_that_knows_no_condition_gets_plain_files(place, error):
    place.trouble = refuse("make", error)

    assert not place.prove(MARK)
    assert place.create("hero.png", b"first", MARK)
    assert place.create("hero.png", b"first", MARK)
    assert not place.create("hero.png", b"second", MARK)
    assert place.read("hero.png") == b"first"


def test_place_where_nothing_may_be_removed_keeps_one_file_that_is_written_over(place):
    place.trouble = refuse("remove", PermissionError("https://store.example/x?sig=secret"))
    assert place.prove(MARK)
    left = sorted(os.listdir(place.path))
    assert left[0] == PROBE
    assert len(left) == 2

    for _ in range(3):
        folders._PROVEN.clear()
        place.asked.clear()
        assert place.prove(MARK)
        assert place.asked == ["make", "put"]
    assert sorted(os.listdir(place.path)) == left
    assert b"may be removed at any time" in (place.path / PROBE).read_bytes()


def test_another_tasks_probe_that_is_removed_meanwhile_proves_nothing(place):
    (place.path / PROBE).touch()

    def remove_it(kind: str, name: str) -> None:
        if name == PROBE:
            (place.path / PROBE).unlink(missing_ok=True)

    place.trouble = remove_it

    assert place.prove(MARK)


def test_answer_that_was_lost_is_no_refusal(place):
    """The driver repeats the first write, and the store says that it is taken."""
    make, lost = place._make, [1]

    def make_twice(name: str, source: BinaryIO, writer_id: str) -> bool:
        if lost:
            lost.clear()
            make(name, source, writer_id)
        return make(name, source, writer_id)

    place._make = make_twice

    assert place.prove(MARK)
    assert os.listdir(place.path) == []


def test_what_is_there_is_compared_to_the_byte(place):
    content = bytes(range(256)) * 8192

    def holds(there: Any) -> bool:
        place.put("hero.png", io.BytesIO(there), MARK)
        return place.holds("hero.png", io.BytesIO(content))

    assert not place.holds("hero.png", io.BytesIO(content))
    assert holds(content)
    assert not holds(content[:-1])
    assert not holds(content[:-1] + b"x")
    assert not holds(b"x" + content[1:])
