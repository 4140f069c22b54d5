"""Measure what the documentation claims, each figure beside its reference in the same run.

One line a figure: name, value, unit, limit, reference. Machines are noisy, so these are medians and
ratios, and no test depends on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import batch
import batch_mapped
import batch_memory
import batch_rerun
import client_work
import gallery
import import_time
import memory
import slots
import waiting

_MODULES = (
    import_time,
    client_work,
    memory,
    waiting,
    batch,
    batch_memory,
    batch_rerun,
    batch_mapped,
    slots,
    gallery,
)


def main() -> None:
    for module in _MODULES:
        for name, value, unit, reference in module.figures():
            print(f"{name:<66} {value:>9} {unit:<8} {reference}", flush=True)


if __name__ == "__main__":
    main()
