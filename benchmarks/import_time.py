"""What importing the operators costs every Dag file, over what every Dag file pays anyway."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

ROUNDS = 9

PROBE = """
import json, sys, time
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
import airflow.triggers.base
before = set(sys.modules)
start = time.perf_counter()
for name in sys.argv[1:]:
    __import__(name)
seconds = time.perf_counter() - start
added = sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))
new = [name for name in added if name not in {top.partition(".")[0] for top in before}]
print(json.dumps([seconds * 1000, new]))
"""

OURS = "oxen: operators.images + sensors.models"
MODULES = {
    OURS: ["airflow_provider_oxen.operators.images", "airflow_provider_oxen.sensors.models"],
    "openai: operators.openai": ["airflow.providers.openai.operators.openai"],
    "http: operators.http": ["airflow.providers.http.operators.http"],
    "databricks: operators.databricks": ["airflow.providers.databricks.operators.databricks"],
}


def figures() -> Iterator[tuple[str, str, str, str]]:
    taken: dict[str, list[float]] = {name: [] for name in MODULES}
    new: dict[str, list[str]] = {}
    for _ in range(ROUNDS):
        for name, modules in MODULES.items():
            milliseconds, new[name] = _probe(modules)
            taken[name].append(milliseconds)
    for name, values in taken.items():
        own = [module for module in new[name] if module != "airflow_provider_oxen"]
        limit = "limit 10 ms and none" if name == OURS else "reference"
        loads = f"new third-party modules: {', '.join(own) or 'none'}"
        yield f"import, {name}", f"{statistics.median(values):.1f}", "ms", f"{limit}; {loads}"


def _probe(modules: list[str]) -> tuple[float, list[str]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE, *modules], check=True, capture_output=True, text=True
    )
    milliseconds, new = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, new
