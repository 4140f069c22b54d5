"""A place is proved before anything is spent, and two tasks with one path have an image each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.images import folder as folders
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.task import Identity

from .batch_scene import Batch, all_kept
from .scene import Scene, all_modes, by_queue, paid_once, stopped, with_record, with_store


@pytest.fixture
def filed(scene: Scene) -> Scene:
    """A task that keeps files, wherever its record lives."""
    scene.arguments["storage_path"] = f"{scene.out}/cube"
    return scene


@pytest.fixture
def batch(cast_batch: Callable[..., Batch]) -> Batch:
    return cast_batch()


def is_kept(scene: Scene, played: Any, stem: str) -> bool:
    """Make sure that a task's image and sidecar are there, by that name, and its own."""
    image = Path(played.image["path"])
    assert image.stem == stem
    assert hashlib.sha256(image.read_bytes()).hexdigest() == played.image["sha256"]
    sidecar = json.loads(image.with_suffix(".json").read_text())
    assert (sidecar["identity"], sidecar["file"]) == (scene.identity, image.name)
    return True


def ignore_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store take a second file of one name, as some servers and old drivers do."""

    def make(self: LocalFolder, name: str, source: Any, mark: str) -> bool:
        self.put(name, source, mark)
        return True

    monkeypatch.setattr(LocalFolder, "_make", make)


def refuse_files(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Have the store take no file but a record that is there already."""

    def refuse(*arguments: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr(LocalFolder, "_make", refuse)
    monkeypatch.setattr(LocalFolder, "put", refuse)


@with_record
@all_modes
def test_two_tasks_that_write_to_one_path_at_once_have_an_image_each(cast, monkeypatch):
    first, second = cast(0, prompt="A cube"), cast(1, prompt="A ball")
    first.arguments["storage_path"] = second.arguments["storage_path"] = f"{first.out}/cube"
    create = LocalFolder.create
    played: list[Any] = []

    def create_late(self: LocalFolder, name: str, source: Any, mark: str) -> bool:
        if not played and name.startswith("cube.") and not name.endswith(".json"):
            played.append(None)
            played[0] = second.play()
        return create(self, name, source, mark)

    monkeypatch.setattr(LocalFolder, "create", create_late)

    one = first.play()
    [two] = played

    assert (one.state, two.state) == ("success", "success")
    assert is_kept(second, two, "cube")
    assert is_kept(first, one, f"cube-{first.identity[:16]}")
    assert first.sent == 2

    again = first.clear()

    assert again.result["reused"] is True
    assert again.image == one.image
    assert first.sent == 2


@with_store
@all_modes
@pytest.mark.parametrize("error", [PermissionError(13, "Forbidden"), OSError(30, "Read-only file system")])
def test_place_that_takes_no_files_stops_the_task_before_anything_is_sent(filed, monkeypatch, error):
    refuse_files(monkeypatch, error)

    message = stopped(filed, filed.play(), sent=0)

    assert "cannot be written to" in message
    assert "Nothing was spent by this try" in message


@with_store
@all_modes
def test_full_disk_stops_the_try_before_anything_is_sent_and_the_next_goes_on(filed, monkeypatch):
    with pytest.MonkeyPatch.context() as full:
        refuse_files(full, OSError(28, "No space left on device"))
        filed.between = full.undo

        played = filed.play()

    [error] = played.errors
    assert type(error).__name__ == "OxenStoreUnavailable"
    assert "takes no files now: OSError: [Errno 28] No space left on device" in str(error)
    assert paid_once(filed, played)
    assert is_kept(filed, played, "cube")


@with_record
@all_modes
def test_store_that_ignores_conditions_gets_a_name_of_the_tasks_own(filed, monkeypatch):
    ignore_conditions(monkeypatch)
    # Another process goes on, and has to find out for itself.
    deferring = filed.deferring

    def forgetting() -> None:
        folders._PROVEN.clear()
        deferring()

    filed.deferring = forgetting

    played = filed.play()

    assert filed.sent == filed.paid == 1
    assert is_kept(filed, played, f"cube-{filed.identity[:16]}")
    assert "does not refuse to overwrite a file" in filed.logged

    again = filed.clear()
    assert again.result["reused"] is True
    assert filed.sent == 1


@with_record
@by_queue
def test_output_that_is_replaced_stays_where_it_is_whatever_the_store_promises(filed, monkeypatch):
    filed.play()
    ignore_conditions(monkeypatch)
    folders._PROVEN.clear()

    again = filed.clear(overwrite=True)

    assert again.result["reused"] is False
    assert is_kept(filed, again, "cube")


@with_store
@by_queue
def test_place_that_fails_after_the_payment_is_told_by_the_images_own_write(filed, monkeypatch):
    """The proof that is made once more before the image is kept must not stand in its way."""
    prove, proofs = LocalFolder.prove, []

    def fail(self: LocalFolder, mark: str) -> bool:
        proofs.append(mark)
        if len(proofs) > 1:
            raise OSError("busy")
        return prove(self, mark)

    monkeypatch.setattr(LocalFolder, "prove", fail)
    played = filed.play()

    assert len(proofs) == 2
    assert paid_once(filed, played)
    assert is_kept(filed, played, "cube")


# Batches.


@all_modes
def test_batch_beside_another_does_not_begin_where_the_store_cannot_keep_two_apart(batch, monkeypatch):
    ignore_conditions(monkeypatch)
    batch.out.mkdir(parents=True, exist_ok=True)
    other = batch.out / ".oxen-claim-0123456789abcdef.json"
    other.touch()
    batch.between = lambda: other.unlink(missing_ok=True)

    played = batch.play()

    [error] = played.errors
    assert f"as {other.name} says, and this store cannot keep two apart" in str(error)
    assert "Nothing was spent by this try" in str(error)
    assert all_kept(batch, played)
    assert batch.left == []


@by_queue
def test_batch_that_works_there_is_told_by_its_dag_and_task(batch, monkeypatch):
    ignore_conditions(monkeypatch)
    batch.out.mkdir(parents=True, exist_ok=True)
    other = batch.out / ".oxen-claim-0123456789abcdef.json"
    other.write_text(json.dumps(Identity("shop", "run 7", "cards", -1)._asdict()))

    [error] = batch.once().errors

    assert "Another task's batch (Dag 'shop', task 'cards') is running in" in str(error)
    assert batch.asked == {}


@by_queue
def test_batch_is_seen_by_another_while_it_works_and_not_afterwards(batch, monkeypatch):
    ignore_conditions(monkeypatch)
    put = LocalFolder.put
    seen: set[str] = set()

    def look(self: LocalFolder, name: str, source: Any, mark: str, **more: Any) -> None:
        if name.endswith(".webp"):
            seen.update(path.name for path in batch.out.glob(".oxen-claim-*"))
        put(self, name, source, mark, **more)

    monkeypatch.setattr(LocalFolder, "put", look)

    assert all_kept(batch, batch.play())
    assert seen == {f".oxen-claim-{batch.identity[:16]}.json"}
    assert all_kept(batch, batch.next_run())


@by_queue
def test_batches_need_no_claim_where_the_store_keeps_them_apart(batch, monkeypatch):
    put, written = LocalFolder.put, []

    def note(self: LocalFolder, name: str, *arguments: Any, **more: Any) -> None:
        written.append(name)
        put(self, name, *arguments, **more)

    monkeypatch.setattr(LocalFolder, "put", note)

    assert all_kept(batch, batch.play())
    assert not [name for name in written if name.startswith(".oxen-claim-")]


@by_queue
def test_batch_whose_place_takes_no_files_sends_nothing(batch, monkeypatch):
    refuse_files(monkeypatch, PermissionError(13, "Forbidden"))

    assert "cannot be written to" in stopped(batch, batch.play(), sent=0)
