#!/usr/bin/env bash
# Pin what each tested Airflow line is installed with: constraints/airflow-<line>.txt.
# Needs uv. Pins that still fit are kept; `scripts/lock.sh --upgrade` takes the newest of everything,
# `scripts/lock.sh --upgrade-package NAME` the newest of one.
set -euo pipefail
cd "$(dirname "$0")/.."

# What `make bench` holds our own import time against.
bench="apache-airflow-providers-databricks apache-airflow-providers-http apache-airflow-providers-openai"

for line in 3.3.2 3.1.8 2.11.2; do
  # The documentation is built in one environment.
  docs=(); [ "$line" != 3.3.2 ] || docs=(--extra docs)
  printf '%s\n' "apache-airflow==$line" $bench |
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
      --extra dev --extra s3 --extra localhub --extra parquet "${docs[@]}" "$@" \
      --output-file "constraints/airflow-$line.txt" pyproject.toml - >/dev/null
done
