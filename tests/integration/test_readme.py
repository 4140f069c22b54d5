"""The README's Dag, as it stands there, on real Airflow, a local hub and a real S3 server."""

from __future__ import annotations

import re

from airflow.providers.common.compat.sdk import ObjectStoragePath

from ..conftest import ROOT
from .conftest import load_dags
from .s3 import CONN_ID, bucket, server  # noqa: F401 - fixtures


def test_the_readmes_dag_runs_as_written(connected, run_dag, s3, tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code = code.replace("s3://bucket/", f"s3://{s3.bucket}/").replace("aws_default", CONN_ID)
    try:
        import airflow.sdk  # noqa: F401
    except ImportError:
        code = code.replace("from airflow.sdk import dag", "from airflow.decorators import dag")
    (tmp_path / "pictures.py").write_text(code)

    run = run_dag(load_dags(tmp_path / "pictures.py")["pictures"])

    assert run.state == "success"
    [image] = run.xcom("hero")["images"]
    assert image["path"].startswith(f"s3://{CONN_ID}@{s3.bucket}/hero/")
    with ObjectStoragePath(image["path"]).open("rb") as file:
        assert len(file.read()) == image["bytes"]
    name = image["path"].rpartition("/")[2]
    # The record is a file too, and gone in the end, and so is what proves that the place takes files.
    written = [line for line in s3.written if ".job.json" not in line and ".oxen-probe-" not in line]
    assert written == [f"PUT {name}", f"PUT {name.rpartition('.')[0]}.json"]
    assert len(s3.keys()) == 2
    assert len(connected.ledger()) == 1
