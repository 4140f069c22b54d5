"""Where a row's images go."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.integration.s3 import S3


class Place(Protocol):
    """A folder for images.

    :ivar url: its ``storage_path``, or None.
    """

    url: str | None

    def files(self) -> Mapping[str, list[bytes]]:
        """Return the content of each file by its name; of a name on several disks there may be several."""


class Folders:
    """Folders of this machine that are one path for Airflow.

    :param url: that path.
    """

    def __init__(self, url: str, *paths: Path) -> None:
        self.url: str | None = f"{url}/"
        self._paths = paths
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)

    def files(self) -> Mapping[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for folder in self._paths:
            for path in sorted(folder.glob("*")):
                if path.is_file():
                    found.setdefault(path.name, []).append(path.read_bytes())
        return found


class Bucket:
    """A folder of the S3 server."""

    def __init__(self, s3: S3, name: str) -> None:
        self.url: str | None = f"{s3.url}/{name}/"
        self._s3 = s3
        self._prefix = f"{name}/"

    def files(self) -> Mapping[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for key in self._s3.keys():  # noqa: SIM118 - a method
            if key.startswith(self._prefix):
                # One that goes away meanwhile is not there.
                with contextlib.suppress(self._s3.client.exceptions.NoSuchKey):
                    found[key.removeprefix(self._prefix)] = [self._s3.content(key)]
        return found


class Nowhere:
    """None: all goes into XCom."""

    url: str | None = None

    def files(self) -> Mapping[str, list[bytes]]:
        return {}
