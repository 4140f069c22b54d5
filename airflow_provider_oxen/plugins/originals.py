"""Opens the original of an image for the Images view, where the deployment allows it.

A path in XCom is a stranger's word: whoever may write a Dag may push any. So a file is opened only below a
prefix that ``[oxen] view_originals`` names, through no link, up to a size; its bytes must be a whole image.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import BinaryIO, NamedTuple

from airflow.providers.common.compat.sdk import AirflowConfigException

from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.configuration import view_originals
from airflow_provider_oxen.images.fetched import Fetched
from airflow_provider_oxen.images.storage import open_folder
from airflow_provider_oxen.images.verify import prove

__all__ = ["Original", "Prefix", "find", "prefixes", "read_original"]

log = getLogger(__name__)

LARGEST = 64 * 1024 * 1024
"""Bytes of a file that is shown: ten times what the largest known model makes."""

_CHUNK = 1024 * 1024


class Original(NamedTuple):
    """A proved image.

    :ivar file: an unnamed copy: what was proved is what is shown, whatever happens to the original.
    """

    file: BinaryIO
    media_type: str
    size: int


@dataclass(frozen=True)
class Prefix:
    """A folder below which files may be opened.

    :ivar place: as the paths in XCom begin with it; ends in a slash.
    :ivar conn_id: of the Airflow connection to its store; None for the API server's own credentials.
    """

    place: str
    conn_id: str | None = None


def prefixes() -> list[Prefix]:
    """Return what ``[oxen] view_originals`` allows: nothing where it is not set."""
    try:
        names = view_originals()
    except AirflowConfigException as error:
        # The page is worth more than its originals.
        log.warning("No originals are shown: %s", error)
        return []
    return [prefix for name in names if (prefix := _prefix(name))]


def _prefix(text: str) -> Prefix | None:
    scheme, there, rest = text.partition("://")
    if not there:
        # Of the whole disk nobody means that it may be shown.
        return Prefix(f"{text.rstrip('/')}/") if text.startswith("/") and text.strip("/") else None
    user, _, rest = rest.rpartition("@")
    return Prefix(f"{scheme}://{rest.rstrip('/')}/", user or None) if scheme and rest.strip("/") else None


def find(path: str, allowed: list[Prefix]) -> Prefix | None:
    """Return the prefix that a path is below, None where it is below none. Looks at the text alone."""
    prefix = next((one for one in allowed if path.startswith(one.place)), None)
    if prefix is None or "\0" in path:
        return None
    steps = path.removeprefix(prefix.place).split("/")
    return None if any(step in ("", ".", "..") for step in steps) else prefix


def read_original(path: str, prefix: Prefix, given_up: Callable[[], bool] = lambda: False) -> Original:
    """Copy a file, and prove that it is an image.

    :param path: for which :func:`find` gave the prefix.
    :param given_up: whether nobody waits for it any more.
    :raises OSError: where it cannot be opened or is too large, or it is no image.
    """
    with ExitStack() as files:
        copy = files.enter_context(tempfile.TemporaryFile(prefix="oxen-"))
        digest, size = hashlib.sha256(), 0
        try:
            with _opened(path, prefix) as source:
                while chunk := source.read(_CHUNK):
                    if given_up():
                        raise OSError("nobody waits for it any more")
                    size += len(chunk)
                    if size > LARGEST:
                        raise OSError(f"it has more than {LARGEST:,} bytes")
                    digest.update(chunk)
                    copy.write(chunk)
            facts = prove(Fetched(copy, size, digest.hexdigest()))
        except OxenError as error:
            raise OSError(error.message) from None
        except Exception as error:
            # A store's driver raises almost anything.
            raise OSError(describe_error(error)) from None
        files.pop_all()
        return Original(copy, facts.media_type, size)


@contextmanager
def _opened(path: str, prefix: Prefix) -> Iterator[BinaryIO]:
    steps = path.removeprefix(prefix.place).split("/")
    if prefix.place.startswith("/"):
        with os.fdopen(_walk(prefix.place, steps), "rb") as file:
            yield file
        return
    folder = open_folder(f"{prefix.place}{''.join(f'{step}/' for step in steps[:-1])}", prefix.conn_id)
    with folder.open(steps[-1]) as file:
        yield file


def _walk(place: str, steps: list[str]) -> int:
    """Open a regular file of this machine step by step, through no link below the prefix."""
    here = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for step in steps[:-1]:
        try:
            there = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        finally:
            os.close(here)
        here = there
    try:
        # A pipe would wait for ever.
        found = os.open(steps[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError("it is no regular file")
    return found
