from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from airflow_provider_oxen.localhub import LocalHub, __main__

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "airflow_provider_oxen.localhub", "--port", "0"]


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def url_of(line: str) -> str:
    url, key = line.removeprefix("Local hub: ").rstrip("\n").split("  key: ")
    assert key == "local-key"
    return url


def test_command_says_one_line_serves_and_ends_on_a_signal():
    with running(*COMMAND) as process:
        assert process.stdout
        url = url_of(process.stdout.readline())
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/_local/ledger").json() == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_either_signal_ends_it(monkeypatch, number):
    class Signalled(LocalHub):
        def start(self):
            signal.raise_signal(number)
            return super().start()

    monkeypatch.setattr(__main__, "LocalHub", Signalled)
    assert __main__.main(["--port", "0"]) == 0


def test_command_ends_with_its_parent():
    """The hub holds the pipe that the test reads to its end."""
    parent = (
        "import subprocess, sys;"
        "hub = subprocess.Popen([*sys.argv[1:], '--with-parent'], stdout=subprocess.PIPE, text=True);"
        "print(hub.stdout.readline(), end='', flush=True); import os; os._exit(0)"
    )
    command = [sys.executable, "-c", parent, *COMMAND]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url_of(done.stdout))


def test_time_runs_out(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert __main__.main(["--port", "0", "--stop-after", "0"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Local hub: http://127.0.0.1:")
    assert out.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_parent_goes_away(monkeypatch):
    parents = iter([os.getppid(), 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(__main__, "_LOOK", 0.001)
    assert __main__.main(["--port", "0", "--with-parent"]) == 0


def test_options_become_settings(monkeypatch):
    started = []

    class Seen(LocalHub):
        def start(self):
            started.append(self.settings)
            return super().start()

    monkeypatch.setattr(__main__, "LocalHub", Seen)
    options = "--key sesame --latency 1.5 --credits 2 --url-ttl 3 --layout ai --rate-limit 4"
    options += " --queue-wait 5 --workers 6 --set row_keys=model --set default_size=[8,9]"
    assert __main__.main([*options.split(), "--port", "0", "--stop-after", "0"]) == 0
    [settings] = started
    assert (settings.key, settings.latency, settings.credits, settings.url_ttl) == ("sesame", 1.5, 2, 3)
    assert (settings.layouts, settings.rate_limit) == (frozenset({"ai"}), 4)
    assert (settings.queue_wait, settings.workers) == (5, 6)
    assert (settings.row_keys, settings.default_size) == ("model", (8, 9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--host 0.0.0.0", "loopback (127.0.0.1) only, not on '0.0.0.0'"),
        ("--port 99999", "port must be 0-65535"),
        ("--latency -1", "latency: Input should be greater than or equal to 0 (given: -1.0)"),
        ("--workers -1", "workers: Input should be greater than or equal to 0"),
        ("--set speed=1", "speed: Extra inputs are not permitted"),
        ("--set latency", "latency: Input should be a valid number (given: '')"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(capsys, options, message):
    assert __main__.main(options.split()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("The local hub did not start: ")
    assert message in shown.err
    assert shown.err.count("\n") == 1
