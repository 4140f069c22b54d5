"""Fail unless the wheel named on the command line is the package, whole and alone, and Airflow finds it.

It must also come out the same, byte for byte, when it is built again elsewhere: so anybody can prove what a
release was made from.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "airflow_provider_oxen"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAME = PROJECT["name"]

ABOUT = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
"""What a wheel says about itself."""

TELL = "import airflow_provider_oxen as oxen; print(oxen.__file__, oxen.get_provider_info()['name'])"
LOAD = """
import importlib.metadata
for point in importlib.metadata.distribution("airflow-provider-oxen").entry_points:
    print(point.group, point.name, point.load())
"""


def check_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    about = {name.partition(".dist-info/")[2] for name in names if ".dist-info/" in name}
    packed = {name for name in names if ".dist-info/" not in name}
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if packed != ours or about != ABOUT:
        extra, missing = (packed - ours) | (about - ABOUT), (ours - packed) | (ABOUT - about)
        sys.exit(f"{wheel}: not ours: {sorted(extra)}; missing: {sorted(missing)}")
    print(f"{wheel.name}: {len(ours)} files, all of the package and nothing else")


def check_reproducible(wheel: Path) -> None:
    """Build again from a copy: in another folder, with other file times, modes, and another time zone."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "copy")
        shutil.copytree(PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "scripts").mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "scripts/readme.py"):
            shutil.copyfile(ROOT / name, copy / name)
        for path in copy.rglob("*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))
            path.chmod(0o700 if path.is_dir() else 0o600)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", scratch, copy]
        subprocess.run(build, check=True, env=os.environ | {"TZ": "Asia/Tokyo"}, stdout=subprocess.DEVNULL)
        again = Path(scratch, wheel.name)
        if not again.exists() or again.read_bytes() != wheel.read_bytes():
            sys.exit(f"{wheel}: another build of the same sources gave another wheel")
    print(f"{wheel.name}: built twice, the same {wheel.stat().st_size} bytes")


def check_metadata(scratch: str) -> None:
    """What was installed says of itself what pyproject.toml does."""
    [found] = importlib.metadata.distributions(path=[scratch])
    points = {point.group: {} for point in found.entry_points}
    for point in found.entry_points:
        points[point.group][point.name] = point.value
    said = {
        "name": found.metadata["Name"],
        "license": found.metadata["License-Expression"],
        "requires-python": found.metadata["Requires-Python"],
        "needs": sorted(str(Requirement(need)) for need in found.requires or [] if "extra ==" not in need),
        "extras": sorted(found.metadata.get_all("Provides-Extra") or []),
        "entry-points": points,
    }
    wanted = {
        **{key: PROJECT[key] for key in ("name", "license", "requires-python", "entry-points")},
        "needs": sorted(str(Requirement(need)) for need in PROJECT["dependencies"]),
        "extras": sorted(PROJECT["optional-dependencies"]),
    }
    if said != wanted:
        sys.exit("Installed, it says: " + "; ".join(f"{k} {said[k]}" for k in said if said[k] != wanted[k]))


def check_installed(wheel: Path) -> None:
    """Without its dependencies the package says what it is; beside Airflow, Airflow says so too."""
    with tempfile.TemporaryDirectory() as scratch:
        run = [sys.executable, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--target", scratch]
        subprocess.run([*run, wheel], check=True)
        check_metadata(scratch)
        env = os.environ | {"PYTHONPATH": scratch, "AIRFLOW_HOME": f"{scratch}/airflow"}

        def told(*command: str) -> str:
            done = subprocess.run(
                command, check=True, cwd=scratch, env=env, stdout=subprocess.PIPE, text=True
            )
            return done.stdout

        said = told(sys._base_executable, "-S", "-c", TELL)
        if not said.startswith(scratch):
            sys.exit(f"{wheel}: not what was imported: {said}")
        print(said, end="")
        told(sys.executable, "-c", LOAD)
        [*_, provider] = told(
            sys.executable, "-m", "airflow", "providers", "get", NAME, "--output", "plain"
        ).splitlines()
        version = wheel.name.split("-")[1]
        if provider.split() != [NAME, version]:
            sys.exit(f"{wheel}: Airflow knows it as {provider!r}, not as {NAME} {version}")
        print(f"Airflow knows {NAME} {version}")


if __name__ == "__main__":
    built = Path(sys.argv[1]).resolve()
    check_contents(built)
    check_reproducible(built)
    check_installed(built)
