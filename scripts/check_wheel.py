"""Fail unless the wheel named on the command line is the package, whole and alone, and Airflow finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "airflow_provider_oxen"
TELL = "import airflow_provider_oxen as oxen; print(oxen.__file__, oxen.get_provider_info()['name'])"


def check_contents(wheel: str) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    if packed != ours:
        sys.exit(f"{wheel}: not ours: {sorted(packed - ours)}; missing: {sorted(ours - packed)}")
    print(f"{wheel}: {len(ours)} files, all of the package and nothing else")


def check_installed(wheel: str) -> None:
    """Without its dependencies the package says what it is; beside Airflow, Airflow says so too."""
    with tempfile.TemporaryDirectory() as scratch:
        run = [sys.executable, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--target", scratch]
        subprocess.run([*run, wheel], check=True)
        alone = [sys._base_executable, "-S", "-c", TELL]
        env = os.environ | {"PYTHONPATH": scratch, "AIRFLOW_HOME": f"{scratch}/airflow"}
        said = subprocess.run(alone, check=True, cwd=scratch, env=env, capture_output=True, text=True).stdout
        if not said.startswith(scratch):
            sys.exit(f"{wheel}: not what was imported: {said}")
        print(said, end="")
        get = [sys.executable, "-m", "airflow", "providers", "get", "airflow-provider-oxen"]
        subprocess.run(get, check=True, cwd=scratch, env=env)


if __name__ == "__main__":
    check_contents(sys.argv[1])
    check_installed(os.path.abspath(sys.argv[1]))
