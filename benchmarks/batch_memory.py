"""Peak memory of a batch of thousands of images of 1 MB, beside a small one, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

from batch_ways import OPERATOR, Measured, measured
from hubs import Hub, quiet_hub

MB = 1_000_000
FEW, INLINE, MANY = 50, 500, 5_000
IN_FLIGHT = 8
"""The operator's default."""

LIMIT = 60
LIMIT_INLINE = IN_FLIGHT * 4
"""MB: four times each image that is on its way as base64 text."""


def figures() -> Iterator[tuple[str, str, str, str]]:
    with quiet_hub(ready_made_bytes=MB) as hub:
        few, many = (_run(hub, number, "url") for number in (FEW, MANY))
        inline = _run(hub, INLINE, "b64_json")
    yield (
        f"peak memory, {MANY:,} prompts with 1 MB images, over {FEW}",
        f"{many.peak - few.peak:.1f}",
        "MB",
        f"limit {LIMIT}; {many.peak:.0f} MB beside {few.peak:.0f} MB; {MANY / many.wall:.0f} images a second",
    )
    yield (
        f"peak memory, the same as base64 ({INLINE} prompts), over links",
        f"{inline.peak - many.peak:.1f}",
        "MB",
        f"limit {LIMIT_INLINE}; {inline.peak:.0f} MB beside {many.peak:.0f} MB",
    )


def _run(hub: Hub, number: int, response_format: str) -> Measured:
    hub.reset()
    arguments = {"max_in_flight": IN_FLIGHT, "use_queue": False, "response_format": response_format}
    return measured(OPERATOR, hub, number, **arguments)


if __name__ == "__main__":
    for figure in figures():
        print(*figure, sep="  ", flush=True)
