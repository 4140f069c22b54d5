"""What is kept, what is ours to write over, and what belongs to somebody else."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.images import local, writer
from airflow_provider_oxen.images.keep import Keeper
from airflow_provider_oxen.images.local import LocalFolder
from airflow_provider_oxen.images.sidecar import FORMAT
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks.attempt import describe_result
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.tasks.places import open_output

from .scene import (
    Scene,
    Struck,
    all_modes,
    by_call,
    by_queue,
    left_running,
    lost_after_keeping,
    paid_once,
    stopped,
    with_record,
    with_store,
)


@pytest.fixture
def filed(scene: Scene) -> Scene:
    """A task that keeps files, wherever its record lives."""
    scene.arguments["storage_path"] = f"{scene.out}/cube"
    return scene


def is_whole(scene: Scene, played: Any) -> bool:
    """Make sure that image and sidecar are there, are those of the result, and are alone."""
    image = Path(played.image["path"])
    assert hashlib.sha256(image.read_bytes()).hexdigest() == played.image["sha256"]
    sidecar = json.loads(image.with_suffix(".json").read_text())
    assert sidecar["sha256"] == played.image["sha256"]
    assert sidecar["identity"] == scene.identity
    assert scene.files == ["cube.json", image.name]
    return True


@with_record
@all_modes
def test_image_and_sidecar_are_all_that_is_left(filed, mode):
    filed.hub.fail(Fault("drop_after", on="enqueue"))

    played = filed.play()

    assert paid_once(filed, played)
    assert is_whole(filed, played)
    sidecar = json.loads((filed.out / "cube.json").read_text())
    assert sidecar["request"] == {**filed.hub.ledger()[0]["request"], "response_format": "url"}
    assert sidecar.get("generation_id") == played.result.get("generation_id")
    assert sidecar.get("cost") == (None if mode == "synchronous" else 0.01)


@with_record
@all_modes
def test_try_that_died_between_image_and_sidecar_is_written_over(filed, monkeypatch):
    commit = Keeper._commit

    def died(self: Keeper, *arguments: Any) -> None:
        monkeypatch.setattr(Keeper, "_commit", commit)
        raise Struck("killed")

    monkeypatch.setattr(Keeper, "_commit", died)

    played = filed.play()

    assert [type(error) for error in played.errors] == [Struck]
    assert paid_once(filed, played)
    assert is_whole(filed, played)


@with_record
@all_modes
def test_try_that_died_in_the_middle_of_a_write_leaves_no_leftovers(filed, monkeypatch):
    write = local._write
    left: list[Path] = []

    def died(path: str, source: Any, **more: Any) -> None:
        if Path(path).name.startswith((".cube.png.", ".cube.webp.")):
            monkeypatch.setattr(local, "_write", write)
            # A death runs no clean-up: what is left there is not the file that the code removes.
            left.append(Path(path.replace(".part", "0.part")))
            left[0].write_bytes(b"half")
            raise Struck("killed")
        write(path, source, **more)

    monkeypatch.setattr(local, "_write", died)
    filed.between = lambda: left[0].stat()

    played = filed.play()

    assert paid_once(filed, played)
    assert is_whole(filed, played)


@with_record
@all_modes
def test_try_that_died_after_the_last_sidecar_has_its_output(filed, monkeypatch):
    keeps = Keeper.keep

    def died(self: Keeper, *arguments: Any) -> None:
        monkeypatch.setattr(Keeper, "keep", keeps)
        keeps(self, *arguments)
        raise Struck("killed")

    monkeypatch.setattr(Keeper, "keep", died)

    played = filed.play()

    assert played.result["reused"] is True
    assert paid_once(filed, played)
    assert is_whole(filed, played)
    assert filed.record is None or (filed.record["phase"], "items" in filed.record) == ("kept", False)


@with_record
@by_queue
@pytest.mark.parametrize("overwrite", [True, False])
def test_write_that_fails_is_repeated_by_the_next_try_and_not_paid_again(filed, monkeypatch, overwrite):
    monkeypatch.setattr(writer, "_ATTEMPTS", 1)
    write = local._write

    def full(path: str, source: Any, **more: Any) -> None:
        if Path(path).name.startswith(".cube."):
            raise OSError(28, "No space left on device")
        write(path, source, **more)

    monkeypatch.setattr(local, "_write", full)
    filed.between = lambda: monkeypatch.setattr(local, "_write", write)

    played = filed.play(overwrite=overwrite)

    [error] = played.errors
    assert type(error).__name__ == "OxenStorageError"
    assert "The next try fetches it again, and pays nothing." in str(error)
    assert paid_once(filed, played)
    assert is_whole(filed, played)


@with_store
@by_queue
def test_kept_file_that_was_deleted_is_fetched_again_and_not_paid_again(filed):
    first = filed.play()
    for path in filed.out.iterdir():
        path.unlink()
    filed.hub.settings.clock_ahead += 3600
    filed.hub.settings.sign_anew = True

    again = filed.clear()

    assert paid_once(filed, again)
    assert is_whole(filed, again)
    assert again.result["reused"] is True
    assert again.image["sha256"] == first.image["sha256"]
    assert "fetches it again. Nothing is spent." in filed.logged


@with_store
@by_call
def test_deleted_file_of_a_call_is_fetched_as_long_as_its_link_works(filed):
    filed.play()
    for path in filed.out.iterdir():
        path.unlink()

    message = stopped(filed, filed.clear(), sent=1)

    assert "OxenOutcomeUnknown" in message
    assert "was not kept" in message


@by_queue
def test_deleted_file_without_a_store_is_found_on_the_hub_by_its_seed(scene):
    scene.play()
    for path in scene.out.iterdir():
        path.unlink()

    played = scene.clear()

    if scene.mode == "synchronous":
        # Nothing tells of the request any more, and no list need show it.
        assert "may have been paid for" in stopped(scene, played, sent=1)
    else:
        assert played.state == "success"
        assert scene.sent == 1


@with_record
@all_modes
def test_overwrite_replaces_what_is_kept_in_its_place(filed, monkeypatch):
    first = filed.play()
    lost_after_keeping(filed, monkeypatch)

    again = filed.clear(overwrite=True)

    assert again.state == "success"
    assert filed.paid == 2
    assert first.image["sha256"] != again.image["sha256"]
    assert is_whole(filed, again)


@with_record
@by_queue
def test_try_that_died_while_replacing_is_finished_by_the_next(filed, monkeypatch):
    filed.play()
    commit = Keeper._commit

    def died(self: Keeper, *arguments: Any) -> None:
        monkeypatch.setattr(Keeper, "_commit", commit)
        raise Struck("killed")

    monkeypatch.setattr(Keeper, "_commit", died)

    again = filed.clear(overwrite=True)

    assert again.state == "success"
    assert filed.paid == 2
    assert is_whole(filed, again)


@with_record
@by_queue
def test_job_that_is_on_its_way_is_kept_beside_what_somebody_put_there(filed):
    left_running(filed)
    filed.later()
    filed.out.mkdir(exist_ok=True)
    (filed.out / "cube.png").write_bytes(b"theirs")

    played = filed.clear()

    assert played.state == "success"
    assert filed.sent == filed.paid == 1
    assert (filed.out / "cube.png").read_bytes() == b"theirs"
    assert Path(played.image["path"]).name.startswith(f"cube-{filed.identity[:16]}")
    assert "goes beside it." in filed.logged


@with_record
@by_queue
def test_job_that_is_on_its_way_is_not_given_up_for_another_tasks_equal_output(cast):
    first, second = (cast(index, seed=7) for index in (0, 1))
    left_running(second, storage_path=f"{second.out}/cube")
    first.quick()
    assert first.play(storage_path=f"{second.out}/cube").state == "success"

    played = second.clear()

    assert played.state == "success"
    assert played.result["reused"] is False
    assert second.sent == 2


def blinded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk fail until the next try."""
    read = LocalFolder.read

    def failing(self: LocalFolder, name: str) -> bytes | None:
        if name == "cube.json":
            raise OSError(errno.EIO, "Input/output error")
        return read(self, name)

    monkeypatch.setattr(LocalFolder, "read", failing)
    scene.between = lambda: monkeypatch.setattr(LocalFolder, "read", read)


@with_record
@by_queue
def test_place_that_cannot_be_looked_at_stops_the_try_before_anything_is_sent(filed, monkeypatch):
    blinded(filed, monkeypatch)

    played = filed.play()

    [error] = played.errors
    assert type(error).__name__ == "OxenStoreUnavailable"
    assert "Nothing was spent by this try" in str(error)
    assert is_whole(filed, played)
    assert filed.sent == 1


@with_store
@by_queue
def test_place_that_cannot_be_looked_at_is_told_together_with_the_job_that_was_paid_for(filed, monkeypatch):
    generation_id = left_running(filed)
    filed.later()
    blinded(filed, monkeypatch)

    played = filed.clear()

    [error] = played.errors
    assert type(error).__name__ == "OxenPollError"
    assert generation_id in str(error)
    assert "may have been paid for. A later try continues with it." in str(error)
    assert filed.sent == 1
    assert is_whole(filed, played)


@with_record
@by_queue
def test_folder_in_the_sidecars_place_is_refused_before_anything_is_sent(filed):
    filed.out.mkdir()
    (filed.out / "cube.json").mkdir()

    assert "OxenOutputDamaged" in stopped(filed, filed.play(), sent=0)


@with_record
@all_modes
def test_place_of_somebody_else_is_refused_before_anything_is_sent(filed):
    filed.out.mkdir()
    (filed.out / "cube.png").write_bytes(b"theirs")

    message = stopped(filed, filed.play(), sent=0)

    assert "OxenOutputExists" in message
    assert [name for name in filed.files if not name.startswith(".")] == ["cube.png"]


@all_modes
def test_path_that_cannot_be_written_to_is_refused_before_anything_is_sent(scene):
    message = stopped(scene, scene.play(storage_path="/proc/oxen/"), sent=0)

    assert "cannot be written to" in message
    assert "Nothing was spent by this try" in message


def test_task_without_retries_and_with_none_known_has_a_first_try(scene):
    """Airflow leaves them unset in places."""
    scene.retries = None
    scene.max_tries = 0

    assert paid_once(scene, scene.play())


def test_lineage_that_cannot_be_reported_does_not_undo_what_is_kept(scene, monkeypatch):
    from airflow.providers.common.compat.lineage import hook

    monkeypatch.setattr(hook, "get_hook_lineage_collector", lambda: None)

    assert paid_once(scene, scene.play())
    assert "The lineage of the images could not be reported" in scene.logged


@pytest.mark.parametrize("home", ["none"])
def test_output_that_is_in_xcom_is_no_jobs_output(scene):
    scene.play()
    facts: dict[str, Any] = {"fingerprint": "f", "overwrite": False, "max_bytes": 1}

    in_xcom = open_output(scene.context, None, None, **facts)
    in_files = open_output(scene.context, f"{scene.out}/cube", None, **facts)

    assert str(in_xcom) == "XCom"
    assert in_xcom.find() is None
    record: Any = SimpleNamespace(nonce="n")
    assert not in_xcom.is_of(record)
    assert not in_files.is_of(record)
    assert str(in_files) == f"file://{scene.out}/cube"


def test_result_is_told_in_words_without_a_signature():
    link = {"url": "https://hub.example/a.png?signature=x"}
    facts = {"media_type": "image/png", "width": 4, "height": 5, "bytes": 1234}

    assert describe_result({"cost": 0.014, "images": [link]}) == (
        "Not downloaded: XCom has only a link, which expires (https://hub.example/a.png). It cost $0.014."
    )
    assert describe_result({"images": [{"path": "/a.png", **facts}, facts]}) == (
        "Kept /a.png, image/png 4x5, 1,234 bytes, image/png 4x5, 1,234 bytes. The hub gave no cost."
    )
    assert describe_result({"cost": 0, "images": [facts]}) == (
        "Kept in XCom: image/png 4x5, 1,234 bytes. It cost $0."
    )


def test_replaced_output_whose_job_has_no_id_tells_of_none(scene):
    """Nobody can ask for a synchronous answer's image again by its sidecar."""
    facts: dict[str, Any] = {"fingerprint": "f", "overwrite": True, "max_bytes": 1}
    output = open_output(scene.context, f"{scene.out}/cube", None, **facts)
    scene.out.mkdir()
    told = {"format": FORMAT, "identity": scene.identity, "replacing": True}
    (scene.out / "cube.json").write_text(json.dumps(told))

    assert output.left() is None
    (scene.out / "cube.json").write_text(json.dumps(told | {"generation_id": "g-1"}))
    left = output.left()
    assert left is not None
    assert (left.phase, left.generation_id) == ("submitted", "g-1")
    assert not open_output(scene.context, None, None, **facts).is_own()


@by_queue
def test_output_that_appears_after_the_look_is_no_reason_to_pay_again(filed, monkeypatch):
    """Another try of the task was faster by a moment."""
    assert filed.play().state == "success"
    monkeypatch.setattr(Output, "find", lambda self, own_files=(): None)

    again = filed.clear()

    assert again.state == "success", again.error
    assert filed.paid == filed.sent == 1


@by_queue
def test_replaced_job_after_a_try_of_which_nothing_is_left_is_looked_for(filed):
    assert filed.play(overwrite=True).state == "success"
    filed.try_number += 1

    again = filed.clear()

    assert again.state == "success", again.error
    assert filed.paid == filed.sent == 2
    assert "Looking for a request" in filed.logged
