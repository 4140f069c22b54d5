"""Hold the provider and the local hub against the hub's OpenAPI document.

Prism checks each request that goes to the local hub, and each answer; then it makes up answers of its own,
which the client reads. Exit code 1 where anything is refused, broken or raised raw.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# As a script this file's own folder would come first, and hide other packages behind its modules.
sys.path[:1] = [str(ROOT)]

from tests.contract import document, environment  # noqa: E402
from tests.contract.door import Door  # noqa: E402
from tests.contract.prism import prism  # noqa: E402

ANSWERS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", help="plays whose name contains it, and no random answers")
    parser.add_argument("--answers", type=int, default=ANSWERS, help="random answers (default: %(default)s)")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="of the random answers")
    parser.add_argument("--keep", action="store_true", help="keep the home directory, where the log is")
    options = parser.parse_args()
    _end_when_asked()
    home = Path(tempfile.mkdtemp(prefix="oxen-contract-"))
    try:
        served = home / "document.json"
        served.write_text(json.dumps(document.served()))
        for amendment in document.AMENDMENTS:
            print(f"Amended: {'.'.join(amendment.where[-4:])} takes {amendment.value}: {amendment.why}.")
        wrong = _play_all(served, home, options.only)
        if not options.only:
            wrong |= _read_all(served, home, options.answers, options.seed)
        return int(wrong)
    finally:
        if options.keep:
            print(f"Kept: {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)


def _end_when_asked() -> None:
    """Leave no process behind: what is open is closed on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _play_all(served: Path, home: Path, only: str | None) -> bool:
    from airflow_provider_oxen.localhub import HubSettings, LocalHub

    key = secrets.token_hex(16)
    airflow, log = home / "airflow", home / "play.log"
    settings = HubSettings(key=key, default_size=(64, 64), layouts=frozenset({"ai"}))
    with (
        LocalHub(settings) as hub,
        prism("proxy", served, hub.url) as checked,
        Door(checked, hub.url) as door,
    ):
        environment.prepare(airflow, door.url, key)
        with environment.into(log):
            environment.make_database()
        from tests.chaos import leaks
        from tests.contract import report
        from tests.contract.plays import PLAYS, Stage

        verdicts = []
        for number, play in enumerate(play for play in PLAYS if not only or only in play.name):
            place = home / f"play{number}"
            place.mkdir()
            hub.reset()
            hub.settings.files_origin = door.url
            verdicts.append(_play(play, Stage(hub, place), door, log))
            print(report.of_play(verdicts[-1]), flush=True)
        print(report.of_operations(verdicts, door.operations.names()))
    leaked = list(leaks.find(home, [key]))
    for sentence in leaked:
        print(f"LEAK: {sentence}")
    return bool(leaked) or any(verdict.is_wrong for verdict in verdicts)


def _play(play: Any, stage: Any, door: Door, log: Path) -> Any:
    from tests.contract.report import Verdict

    began, failed = time.monotonic(), None
    start = log.stat().st_size
    with door.watching() as seen, environment.into(log):
        try:
            play.run(stage)
        except Exception as error:
            traceback.print_exc()
            failed = f"{type(error).__name__}: {error}"
    # A task that runs in this process takes the signal for itself.
    _end_when_asked()
    if (lost := sum(one.lost for one in seen)) != play.lost:
        failed = failed or f"{lost} answers were lost, not {play.lost}"
    if failed:
        with log.open(errors="replace") as file:
            file.seek(start)
            print(file.read().replace(stage.hub.key, "***")[-4000:])
    return Verdict(play.name, seen, time.monotonic() - began, failed)


def _read_all(served: Path, home: Path, number: int, seed: str) -> bool:
    from tests.contract import report
    from tests.contract.answers import read_all

    began = time.monotonic()
    with prism("mock", served, "--dynamic") as url, environment.into(home / "read.log"):
        tallies = read_all(url, secrets.token_hex(16), number, seed, home)
    print(report.of_answers(tallies, seed, time.monotonic() - began))
    return any(tally.raw for tally in tallies.values())


if __name__ == "__main__":
    sys.exit(main())
