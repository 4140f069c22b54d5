"""``python -m airflow_provider_oxen.localhub``: a hub in the terminal, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from airflow_provider_oxen.localhub import HubSettings, LocalHub

__all__ = ["main"]

_LOOK = 0.2
"""Seconds between two checks of the clock and of the parent process."""

_SETTINGS = (
    ("key", str, "KEY", "the API key to accept"),
    ("latency", float, "SECONDS", "how long an image takes"),
    ("queue_wait", float, "SECONDS", "how long a queued image waits before that"),
    ("workers", int, "N", "queued images made at once; any number without it"),
    ("credits", float, "USD", "play money to start with"),
    ("url_ttl", float, "SECONDS", "how long a result's URL works"),
    ("rate_limit", int, "N", "generate and queue requests accepted in a minute; any number without it"),
)
"""The settings with a command-line option of their own: name, type, unit and meaning."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, for the given time, or until the parent process ends.

    The only line on stdout, ``Local hub: <url>  key: <key>``, is printed once the hub answers requests.
    """
    options = _parser().parse_args(arguments)
    parent = os.getppid()
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        hub = LocalHub(_settings(options), host=options.host, port=options.port)
        with hub:
            print(f"Local hub: {hub.url}  key: {hub.key}", flush=True)
            end = time.monotonic() + options.stop_after
            while not stop.wait(min(_LOOK, max(0.0, end - time.monotonic()))):
                if time.monotonic() >= end or (options.with_parent and os.getppid() != parent):
                    break
    except (OSError, OverflowError, ValueError) as error:
        print(f"The local hub did not start: {error}", file=sys.stderr)
        return 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _parser() -> argparse.ArgumentParser:
    default = HubSettings()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_oxen.localhub",
        description="A hub on this machine: the Oxen.ai hub's routes, drawn images, play money.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address; no other is accepted")
    parser.add_argument("--port", type=int, default=8750, help="0 takes a free one")
    for name, kind, unit, meaning in _SETTINGS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, default=getattr(default, name), metavar=unit, help=meaning)
    parser.add_argument("--layout", default="both", help="path layouts to serve: classic, ai or both")
    others = "any setting of docs/testing-your-dags.md, such as row_keys=model; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", dest="others", help=others)
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="SECONDS", help="end then")
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process is gone")
    return parser


def _settings(options: argparse.Namespace) -> HubSettings:
    settings = HubSettings()
    settings.update({name: getattr(options, name) for name, *_ in _SETTINGS} | {"layouts": options.layout})
    settings.update(dict(_other(given) for given in options.others))
    return settings


def _other(given: str) -> tuple[str, Any]:
    name, _, value = given.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        # The shell has removed the quotes: pass the plain word on, and let the setting check it.
        return name, value


if __name__ == "__main__":
    sys.exit(main())
