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
"""Seconds between looks at the clock and at the parent process."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, the given time, or the end of the parent process.

    The one line on stdout, ``Local hub: <url>  key: <key>``, comes when requests are answered.
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
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address; no other is accepted")
    parser.add_argument("--port", type=int, default=8750, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--key", default=default.key, help="the API key to accept (default: %(default)s)")
    parser.add_argument(
        "--latency", type=float, default=default.latency, metavar="SECONDS",
        help="how long an image takes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--queue-wait", type=float, default=default.queue_wait, metavar="SECONDS",
        help="how long a queued image waits before that (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=int, default=None, metavar="N",
        help="queued images made at once (default: any number)",
    )  # fmt: skip
    parser.add_argument(
        "--credits", type=float, default=default.credits, metavar="USD",
        help="play money to start with (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--url-ttl", type=float, default=default.url_ttl, metavar="SECONDS",
        help="how long a result's URL works (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--layout", choices=["classic", "ai", "both"], default="both",
        help="path layouts to serve (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--rate-limit", type=int, default=None, metavar="N",
        help="generate and queue requests accepted in a minute (default: any number)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=JSON", dest="others",
        help="any setting of docs/testing-your-dags.md, such as row_keys=model; may be given several times",
    )  # fmt: skip
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="SECONDS")
    parser.add_argument("--with-parent", action="store_true", help="stop when the parent process is gone")
    return parser


def _settings(options: argparse.Namespace) -> HubSettings:
    names = ("key", "latency", "queue_wait", "workers", "credits", "url_ttl", "rate_limit")
    settings = HubSettings()
    settings.update({name: getattr(options, name) for name in names} | {"layouts": options.layout})
    settings.update(dict(_other(given) for given in options.others))
    return settings


def _other(given: str) -> tuple[str, Any]:
    name, _, value = given.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        # A word without quotes, such as a shell leaves of them: the setting judges it.
        return name, value


if __name__ == "__main__":
    sys.exit(main())
