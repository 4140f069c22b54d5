"""``make demo`` and ``make ui`` as people run them: real processes, a terminal, and what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

from ..conftest import ROOT
from .conftest import untraced

SCRIPTS = ROOT / "scripts"

newest = pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="the scripts run the newest Airflow")


def environment(**more: str) -> dict[str, str]:
    """Return that of a person's shell: no Airflow of the tests' own, and no key."""
    clean = {name: value for name, value in untraced().items() if "AIRFLOW" not in name}
    clean.pop("OXEN_API_KEY", None)
    return {**clean, "PYTHONPATH": str(ROOT), **more}


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def test_a_taken_port_is_named_before_anything_starts(taken, tmp_path):
    command = [sys.executable, str(SCRIPTS / "ui.py"), "--home", str(tmp_path / "home"), "--port", str(taken)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)

    assert done.returncode == 1
    assert f"Port {taken} cannot be used" in done.stderr
    assert "make ui PORT=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_the_port_is_a_variable_of_make():
    command = ["make", "-n", "-o", ".venv/installed", "ui", "PORT=18081"]
    told = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)

    assert "scripts/ui.py --port 18081" in told.stdout


def of(home: Path) -> list[psutil.Process]:
    """Return the processes that have this AIRFLOW_HOME."""
    return [each for each in living() if tells(each, home)]


def living() -> Iterator[psutil.Process]:
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if each.status() != psutil.STATUS_ZOMBIE:
                yield each


def tells(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("AIRFLOW_HOME") == str(home)
    except psutil.Error:
        return False


def sessions(home: Path) -> set[int]:
    """Return the sessions of an Airflow. The API server tells no AIRFLOW_HOME once it has a title."""
    found = set()
    for each in of(home):
        with contextlib.suppress(ProcessLookupError):
            found.add(os.getsid(each.pid))
    return found


def left(home: Path, its: set[int]) -> list[psutil.Process]:
    """Return the processes that are left of an Airflow with these sessions."""
    found = of(home)
    for each in living():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(each.pid) in its:
                found.append(each)
    return found


@newest
def test_the_ui_says_what_to_click_and_leaves_no_process(tmp_path, port):
    home = tmp_path / "home"
    ui = subprocess.Popen(
        [sys.executable, "-u", str(SCRIPTS / "ui.py"), "--home", str(home), "--port", str(port)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    assert ui.stdout is not None
    try:
        for line in ui.stdout:
            said.append(line)
            if line.startswith("Click"):
                break
        told = "".join(said)
        assert re.search(rf"Open +http://127\.0\.0\.1:{port} +and sign in: user \w+, password \w+", told), (
            told
        )
        assert "Click    Dags > example_oxen_scheduled > Trigger" in told
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/monitor/health") as answer:
            assert json.load(answer)["metadatabase"]["status"] == "healthy"
        hub = psutil.Process(ui.pid).children()
        its = sessions(home)
        assert len(left(home, its)) > len(of(home)) > 3
    finally:
        ui.send_signal(signal.SIGTERM)
        rest = ui.communicate(timeout=120)[0]

    assert "Stopping …" in rest
    assert "Traceback" not in rest
    assert ui.returncode == 128 + signal.SIGTERM
    assert left(home, its) == []
    assert not [each for each in hub if each.is_running()]


@newest
@pytest.mark.parametrize(
    ("until", "number"),
    [("first", signal.SIGTERM), ("api_server", signal.SIGINT)],
    ids=["first", "api_server"],
)
def test_the_ui_that_is_ended_while_it_starts_leaves_no_process(tmp_path, port, until, number):
    home = tmp_path / "home"
    ui = subprocess.Popen(
        [sys.executable, "-u", str(SCRIPTS / "ui.py"), "--home", str(home), "--port", str(port)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Of a terminal, Ctrl-C goes to all of its processes; here to this one alone.
        start_new_session=True,
    )
    its: set[int] = set()
    while not its or (until == "api_server" and not any(map(is_api_server, left(home, its)))):
        assert ui.poll() is None
        time.sleep(0.05)
        its = sessions(home) or its
    ui.send_signal(number)
    said = ui.communicate(timeout=120)[0]

    assert "Stopping …" in said
    assert "Traceback" not in said
    assert ui.returncode == 128 + number
    assert left(home, its) == []


def is_api_server(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0].startswith("airflow api_server")
    except (psutil.Error, IndexError):
        return False


OFFER = f"""
import fcntl, signal, sys, termios
if sys.stdin.isatty():
    # Its own terminal: Ctrl-C reaches it, also where the tests run in the background, which ignores it.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(SCRIPTS)!r})
from pathlib import Path
import demo
demo.offer(Path("/tmp/page.html"))
"""


def read(terminal: Any, until: bytes | None = None) -> bytes:
    """Return what is printed on a terminal, up to some text or the end."""
    said = b""
    # How Linux says that nobody is at the other end any more.
    with contextlib.suppress(OSError):
        while (until is None or until not in said) and (more := terminal.read(1000)):
            said += more
    return said


def offered(tmp_path: Path, answer: str, *, terminal: bool = True, browser: bool = True) -> tuple[str, str]:
    """Return what the end of the demo prints, and the address that a browser was given."""
    opened = tmp_path / "opened"
    script = tmp_path / "browser.sh"
    script.write_text(f'#!/bin/sh\necho "$1" >{opened}\n')
    script.chmod(0o755)
    env = environment(**({"BROWSER": str(script)} if browser else {}))
    if not browser:
        env = {
            name: value
            for name, value in env.items()
            if name not in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
        }
    if not terminal:
        done = subprocess.run(
            [sys.executable, "-c", OFFER], env=env, input=answer, capture_output=True, text=True, check=True
        )
        return done.stdout, opened.read_text() if opened.exists() else ""
    own, its = pty.openpty()
    with os.fdopen(own, "r+b", buffering=0) as person:
        process = subprocess.Popen(
            [sys.executable, "-c", OFFER],
            env=env,
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        said = read(person, until=b"[Y/n] ")
        if said:
            person.write(answer.encode())
        said += read(person)
        assert process.wait(60) == 0, said
    return said.decode(), opened.read_text() if opened.exists() else ""


# Enter, words, the end of the input, Ctrl-C.
@pytest.mark.parametrize(
    ("answer", "opens"),
    [("\n", True), ("y\n", True), ("n\n", False), ("\x04", False), ("\x03", False)],
)
def test_the_demo_offers_to_open_its_page(tmp_path, answer, opens):
    said, opened = offered(tmp_path, answer)

    assert "Open it in your browser now? [Y/n]" in said
    assert opened == ("file:///tmp/page.html\n" if opens else "")


@pytest.mark.parametrize("lacking", ["terminal", "browser"])
def test_the_demo_asks_nobody_where_nobody_can_answer_or_see(tmp_path, lacking):
    said, opened = offered(tmp_path, "\n", **{lacking: False})

    # A terminal shows what is typed.
    assert (said.strip(), opened) == ("", "")


def install(tmp_path: Path, pins: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "pins.txt").write_text(pins)
    return subprocess.run(
        [str(SCRIPTS / "install.sh"), sys.executable, str(tmp_path / "venv"), str(tmp_path / "pins.txt")],
        cwd=tmp_path,
        env=environment(PIP_NO_INDEX="1"),
        capture_output=True,
        text=True,
    )


def test_an_installation_says_what_it_does_and_why_it_fails(tmp_path):
    done = install(tmp_path, f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")

    assert done.returncode != 0
    assert "Making the virtual environment" in done.stdout
    assert "Installing 1 packages" in done.stdout
    assert "no-such-package" in done.stderr
    assert f"The whole of it is in {tmp_path / 'venv'}.log" in done.stderr


def test_an_installation_counts_the_seconds_in_a_terminal(tmp_path):
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nsleep 3\nexit 7\n")
    slow.chmod(0o755)
    (tmp_path / "pins.txt").write_text("airflow==1\n")
    own, its = pty.openpty()
    with os.fdopen(own, "r+b", buffering=0) as person:
        command = [str(SCRIPTS / "install.sh"), str(slow), str(tmp_path / "venv"), str(tmp_path / "pins.txt")]
        process = subprocess.Popen(command, env=environment(), stdin=its, stdout=its, stderr=its)
        os.close(its)
        said = read(person)

    assert process.wait(60) == 7
    told = re.findall(rb"\r\x1b\[K +(\d+)s  Making the virtual environment", said)
    assert len(set(told)) > 1, said
