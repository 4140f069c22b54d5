"""What a request asks to see: size, format, quality and number of images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_oxen.localhub.models import defaults, parameter, takes

__all__ = ["MEDIA_TYPES", "PRESETS", "Picture", "number_of_images", "size"]

PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""Width and height in pixels by the name that ``image_size`` may carry."""

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Media type by Pillow's name of the format."""

LARGEST = 4096
"""Longest side in pixels: what the real catalogue calls 4K; more is cut to it."""

_QUALITY = 80
_LONGEST = {"1K": 1024, "2K": 2048, "4K": 4096}
_FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}


@dataclass(frozen=True)
class Picture:
    """All that decides an image's bytes.

    :ivar index: place among the images of one call, so that they differ.
    :ivar format: Pillow's name of it.
    :ivar quality: 0 to 100, for formats that have one.
    :ivar ready_made: bytes that an image has at least which is not drawn; None for one that is. See
        :mod:`.ready_made`.
    """

    model: str
    prompt: str
    seed: int
    index: int
    width: int
    height: int
    format: str
    quality: int
    ready_made: int | None = None

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.format]

    @classmethod
    def of(
        cls,
        entry: Mapping[str, Any],
        body: Mapping[str, Any],
        seed: int,
        index: int,
        default: tuple[int, int],
        ready_made: int | None = None,
    ) -> Picture:
        """Return what the request to this model asks to see.

        :param default: width and height where neither the request nor the model names a size.
        :param ready_made: bytes of a ready-made image, which has the default size whatever is asked for.
        """
        if ready_made is not None:
            width, height = _within(*default)
            return cls(entry["id"], body["prompt"], seed, index, width, height, "JPEG", _QUALITY, ready_made)
        width, height = size(entry, body, default)
        kind = _FORMATS.get(str(parameter(entry, body, "output_format")).lower(), "PNG")
        quality = parameter(entry, body, "output_quality")
        quality = min(max(quality, 0), 100) if isinstance(quality, int) else _QUALITY
        return cls(entry["id"], body["prompt"], seed, index, width, height, kind, quality)


def size(entry: Mapping[str, Any], body: Mapping[str, Any], default: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in pixels.

    ``image_size`` is honoured whatever the model's schema says of it, as the request that the
    hub's first documentation shows needs that; then come ``size``, ``aspect_ratio``, the schema's
    own defaults, and the default given.
    """
    longest = _LONGEST.get(str(parameter(entry, body, "resolution")), 1024)
    width, height = _asked(body, longest) or _asked(defaults(entry), longest) or default
    return _within(width, height)


def number_of_images(entry: Mapping[str, Any], body: Mapping[str, Any]) -> int:
    """Return how many images the call makes: one, unless a parameter of the model's own says so."""
    number = parameter(entry, body, "num_images") if takes(entry, "num_images") else 1
    return number if isinstance(number, int) else 1


def _within(width: int, height: int) -> tuple[int, int]:
    return min(max(width, 1), LARGEST), min(max(height, 1), LARGEST)


def _asked(parameters: Mapping[str, Any], longest: int) -> tuple[int, int] | None:
    return (
        _named(parameters.get("image_size"))
        or _named(parameters.get("size"))
        or _of_ratio(parameters.get("aspect_ratio"), longest)
    )


def _named(value: Any) -> tuple[int, int] | None:
    """Read a preset's name, ``"640x480"`` or ``{"width": 640, "height": 480}``."""
    if isinstance(value, Mapping):
        width, height = value.get("width"), value.get("height")
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", str(value))
    return (int(match[1]), int(match[2])) if match else PRESETS.get(str(value))


def _of_ratio(value: Any, longest: int) -> tuple[int, int] | None:
    match = re.fullmatch(r"([1-9][0-9]?):([1-9][0-9]?)", str(value))
    if not match:
        return None
    ratio = int(match[1]) / int(match[2])
    return round(longest * min(1.0, ratio)), round(longest / max(1.0, ratio))
