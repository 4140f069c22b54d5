#!/usr/bin/env bash
# Pin what each tested Airflow line is installed with: constraints/airflow-<line>.txt.
# And Prism and what it needs: tests/contract/package-lock.json. Needs uv and npm. Pins that still fit are kept; `scripts/lock.sh --upgrade` takes the newest of everything,
# `scripts/lock.sh --upgrade-package NAME` the newest of one.
set -euo pipefail
cd "$(dirname "$0")/.."

# What `make bench` holds our own import time against.
bench="apache-airflow-providers-databricks apache-airflow-providers-http apache-airflow-providers-openai"

# What `make cluster` needs (celery 5.7 breaks the provider), and the drivers of the stores that tests start.
cluster="apache-airflow-providers-celery apache-airflow-providers-postgres apache-airflow-providers-redis celery<5.7"
drivers="adlfs>=2026.2 gcsfs>=2024.12"

for line in 3.3.2 3.1.8 2.11.2; do
  # The documentation is built, and the cluster and the stores are started, in one environment.
  docs=(); more=(); [ "$line" != 3.3.2 ] || { docs=(--extra docs); more=($cluster $drivers); }
  printf '%s\n' "apache-airflow==$line" $bench "${more[@]}" |
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
      --extra dev --extra s3 --extra localhub --extra parquet "${docs[@]}" "$@" \
      --output-file "constraints/airflow-$line.txt" pyproject.toml - >/dev/null
done

# With hashes, pip takes no version of an extra from the pin of its package: "celery[redis]" has one of its own.
python3 - constraints/airflow-3.3.2.txt <<'PYTHON'
import re, sys
name = sys.argv[1]
with open(name) as file:
    text = file.read()
pin = re.search(r"^celery==.*?(?=^[a-z])", text, re.DOTALL | re.MULTILINE)
with open(name, "w") as file:
    file.write(text[: pin.end()] + pin[0].replace("celery==", "celery[redis]==", 1) + text[pin.end() :])
PYTHON

# Names, versions and hashes, and no address: npm asks whichever registry it is told to ask.
cd tests/contract
npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error
python3 - package-lock.json <<'PYTHON'
import json, sys
name = sys.argv[1]
with open(name) as file:
    lock = json.load(file)
for package in lock["packages"].values():
    for key in ("resolved", "funding", "deprecated"):
        package.pop(key, None)
with open(name, "w") as file:
    json.dump(lock, file, indent=2)
    file.write("\n")
PYTHON
