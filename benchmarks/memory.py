"""Peak memory of keeping a big result, beside a small one, each in a process of its own.

The result is an image of few pixels with bytes behind its end, so that decoding is not what is
measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surroundings import ROOT, local_hub

ROUNDS = 3
MB = 1_000_000
SMALL, BIG = 1 * MB, 200 * MB

KEEP = """
import json, resource, sys
from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.images.keep import Keeper
from airflow_provider_oxen.images.storage import open_folder

path, conn_id, size = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
import httpx
with OxenHook().get_conn() as client:
    fault = {"on": "file", "kind": "padded", "bytes": size}
    client.http.post("/_local/faults", json=fault).raise_for_status()
    body = {"model": "z-image-turbo", "prompt": "A dot", "output_format": "png"}
    answer = client.send(calls.generate(GenerateRequest(**body)))
    folder = open_folder(path, conn_id)
    [record] = Keeper(client, folder, f"image-{size}", {}, "bench.1").keep(answer.images)
assert record["bytes"] > size, record
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000))
"""


def figures() -> Iterator[tuple[str, str, str, str]]:
    with local_hub() as connection, tempfile.TemporaryDirectory() as home, _s3() as s3:
        env = {**os.environ, **connection, **s3, "AIRFLOW_HOME": home, "PYTHONWARNINGS": "ignore"}
        for name, path, conn_id, limit in (
            ("a local folder", str(Path(home, "kept")), "", 16),
            ("an S3 server", "s3://bench/kept", "bench_s3", 64),
        ):
            Path(home, "kept").mkdir(exist_ok=True)
            small, big = (
                statistics.median(_peak(env, path, conn_id, size) for _ in range(ROUNDS))
                for size in (SMALL, BIG)
            )
            yield (
                f"peak memory, a 200 MB result into {name}, over 1 MB",
                f"{big - small:.1f}",
                "MB",
                f"limit {limit}; {big:.0f} MB beside {small:.0f} MB",
            )


def _peak(env: dict[str, str], path: str, conn_id: str, size: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", KEEP, path, conn_id, str(size)],
        env=env, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return float(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def _s3() -> Iterator[dict[str, str]]:
    """Give the connection to an S3 server in another process, with an empty bucket ``bench``."""
    serve = (
        "import sys, boto3; from moto.server import ThreadedMotoServer;"
        "server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False); server.start();"
        "host, port = server.get_host_and_port(); url = f'http://{host}:{port}';"
        "boto3.client('s3', endpoint_url=url, region_name='us-east-1', aws_access_key_id='k',"
        " aws_secret_access_key='s').create_bucket(Bucket='bench');"
        "print(url, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", serve],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        extra = {"endpoint_url": url, "region_name": "us-east-1"}
        fields = {"conn_type": "aws", "login": "k", "password": "s", "extra": extra}
        yield {"AIRFLOW_CONN_BENCH_S3": json.dumps(fields)}
    finally:
        process.terminate()
        process.wait(10)
