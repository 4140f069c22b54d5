"""Can the package and each of its extras be installed beside an Airflow of its day?

``uv`` resolves them as they would have been at each release's date: nothing newer is taken. A floor of ours
that is newer than an Airflow it should work with is found out here, before anybody's ``pip install`` does.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

RELEASES = {
    "2.11.2": "2026-03-15",
    "3.1.8": "2026-03-12",
    "3.2.2": "2026-05-30",
    "3.3.2": "2026-09-18",
}
"""The day after each release: that is how the package index tells the upload of its wheel (2026-03-14 18:07,
2026-03-11 19:27, 2026-05-29 05:19 and 2026-09-17 08:38, UTC), and what a release needs comes up to an hour
later."""

EXTRAS = ("", "s3", "gcs", "azure", "parquet", "localhub")
"""The extras of users; "" is the package alone."""

SHOWN = re.compile(
    r"^(apache-airflow-providers-common-compat|s3fs|gcsfs|adlfs|pyarrow|starlette)==(\S+)", re.M
)


class Resolved(NamedTuple):
    """What came of one resolution.

    :ivar error: what uv said, where it found nothing that fits.
    """

    airflow: str
    extra: str
    found: str
    error: str


def resolve(airflow: str, extra: str) -> Resolved:
    """Resolve the package with one extra beside an Airflow, at its date."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", "3.11"]
    command += ["--exclude-newer", RELEASES[airflow], "--no-header", "--no-annotate"]
    command += ["--extra", extra] if extra else []
    done = subprocess.run(
        [*command, "pyproject.toml", "-"],
        input=f"apache-airflow=={airflow}\n",
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    found = " ".join(
        f"{name.rpartition('providers-')[2]} {version}" for name, version in SHOWN.findall(done.stdout)
    )
    return Resolved(airflow, extra, found, "" if done.returncode == 0 else done.stderr.strip())


def main() -> None:
    began = time.monotonic()
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    forgotten = set(known) - {*EXTRAS, "docs", "dev"}
    if forgotten:
        sys.exit(f"not resolved here: {', '.join(sorted(forgotten))}")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda pair: resolve(*pair), [(v, e) for v in RELEASES for e in EXTRAS]))
    for airflow, extra, found, error in results:
        print(f"{airflow:<7} {extra or 'alone':<9} {error or found}")
    failed = sum(bool(result.error) for result in results)
    print(f"{len(results) - failed} passed, {failed} failed, 0 skipped")
    print(f"in {time.monotonic() - began:.0f} s")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
