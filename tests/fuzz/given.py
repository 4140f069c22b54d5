"""What else comes from outside: models' schemas, connections, templates' values, base64, pictures."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from random import Random
from typing import Any

from PIL import Image

from airflow_provider_oxen.api import clock, redact
from airflow_provider_oxen.api.errors import OxenBadImage
from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.catalogue.check import check
from airflow_provider_oxen.images import fetched, verify
from airflow_provider_oxen.images.preview import LARGE, SMALL, preview
from airflow_provider_oxen.images.received import Checksums
from airflow_provider_oxen.jobs.request import RequestArguments, settle
from tests.fuzz.mutate import KEY, as_json, bent, bytes_of, odd, texts
from tests.fuzz.strangers import HEADERS, SCHEMA

__all__ = ["extra", "headers", "image", "request", "schema", "text"]

PARAMETERS = {
    "prompt": "A red cube " * 20,
    "num_inference_steps": "8",
    "seed": 42,
    "aspect_ratio": "3:2",
    "guidance": 3.3,
    "image_size": {"width": 1024, "height": 768},
    "input_images": ["https://a.example/a.png"] * 4,
    "tags": ["a"] * 300,
}
_DOUBLE: dict[str, Any] = {
    **{f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(60)},
    "s60": {"type": "string"},
    **{f"t{n}": {"oneOf": [{}, {"allOf": [{"$ref": f"#/$defs/t{n + 1}/oneOf/-1"}] * 2}]} for n in range(60)},
    "value": {"const": {"pattern": "^(a+)+$"}},
}
DEAR: tuple[dict[str, Any], ...] = (
    {"pattern": "^(a+)+$"},
    {"pattern": "(a|a)*b"},
    {"pattern": "^(A red cube )*(A red cube )*(A red cube )*x$"},
    {"pattern": "(.*){20}x"},
    {"pattern": "\\p{L}+"},
    {"pattern": "("},
    {"pattern": 7},
    {"pattern": "a" * 100_000},
    {"pattern": "^.*.*.*.*.*.*.*x$"},
    {"pattern": "(?:a?){40}a{40}"},
    {"pattern": "[\\w ]*[\\w ]*[\\w ]*[\\w ]*!"},
    {"$ref": "#"},
    {"$ref": "#/properties/prompt"},
    {"$ref": "https://elsewhere.example/schema.json"},
    {"$ref": 1},
    {"$ref": "#/$defs/s0"},
    {"$ref": "#/$defs/t0/oneOf/-1"},
    {"$ref": "#/$defs/value/const"},
    {"$dynamicRef": "#x"},
    {"anyOf": [{"$ref": "#"}] * 8},
    {"allOf": []},
    {"oneOf": {}},
    {"anyOf": [{"const": n} for n in range(3_000)]},
    {"enum": list(range(20_000))},
    {"enum": [[]] * 10},
    {"multipleOf": 0},
    {"multipleOf": 1e-320},
    {"multipleOf": 0.1},
    {"exclusiveMinimum": True},
    {"minimum": "1"},
    {"not": {"not": {"not": {}}}},
    {"if": {"$ref": "#"}, "then": {"$ref": "#"}},
    {"uniqueItems": True},
    {"contains": {"pattern": "(a+)+b"}},
    {"patternProperties": {"(a+)+b": {}, "(": {}}},
    {"items": {"$ref": "#"}},
    {"dependentSchemas": {"prompt": {"$ref": "#"}}},
    {"type": ["string", 7]},
    {"type": "strange"},
    {"required": "all"},
    {"properties": ["a"]},
    {"nullable": True, "enum": None},
    {"default": [[[]]]},
    {"$schema": "nonsense"},
    {"$id": "http://[::1"},
    {"$anchor": 1},
    {"minLength": -1},
    {"maxItems": 1e400},
    {"format": "regex"},
    {"x": None},
)
ARGUMENTS = {
    "prompt": "A red cube",
    "model": "z-image-turbo",
    "response_format": "url",
    "num_inference_steps": "8",
    "image_size": {"width": 1024, "height": 768},
    "seed": 42,
    "target_namespace": "ox",
    "model_params": {"guidance": 3.5, "tags": ["a", {"b": None}]},
}
FIELDS = {
    "host": "https://hub.example",
    "password": KEY,
    "schema": "https",
    "port": 443,
    "extra": {
        "api_layout": "auto",
        "target_namespace": "ox",
        "timeout": 300,
        "max_retries": "3",
        "verify": True,
        "proxy": "http://user:secret@proxy.example:3128",
        "allow_http": False,
    },
}
PICTURES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("PNG", "RGB", {}),
    ("PNG", "RGBA", {}),
    ("PNG", "P", {}),
    ("PNG", "I;16", {}),
    ("PNG", "1", {}),
    ("PNG", "RGB", {"frames": 3}),
    ("JPEG", "RGB", {}),
    ("JPEG", "L", {"progressive": True}),
    ("JPEG", "CMYK", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGB", {"frames": 3}),
    ("GIF", "P", {}),
    ("GIF", "RGB", {"frames": 3}),
    ("AVIF", "RGB", {}),
    ("AVIF", "RGB", {"frames": 2}),
    ("BMP", "RGB", {}),
    ("TIFF", "RGB", {}),
    ("ICO", "RGBA", {}),
    ("PPM", "RGB", {}),
    ("TGA", "RGB", {}),
)


def schema(rng: Random) -> Callable[[], object]:
    """A model's request schema, and a request that is held against it."""
    bad = bent(rng, SCHEMA)
    if isinstance(bad, dict) and rng.random() < 0.6:
        rules = bad.get("properties")
        if isinstance(rules, dict):
            name = rng.choice(tuple(PARAMETERS))
            rules[name] = rng.choice(
                (rng.choice(DEAR), {**SCHEMA["properties"]["prompt"], **rng.choice(DEAR)})
            )
            if rng.random() < 0.3:
                rules[name] = {
                    rng.choice(("anyOf", "items", "not", "nullable")): rng.choice(
                        (rules[name], [rules[name]])
                    )
                }
        else:
            bad |= rng.choice(DEAR)
        if rng.random() < 0.5:
            bad["$defs"] = _DOUBLE
    # As it comes out of an answer.
    content = as_json(rng, {"id": "m", "capabilities": {"output": ["image"]}, "request_schema": bad})
    parameters = bent(rng, PARAMETERS, rng.choice((0, 1)))

    def case() -> None:
        try:
            model = Model.model_validate(loads(content))
        except ValueError:
            return
        if isinstance(parameters, dict):
            given = {str(name): value for name, value in parameters.items()}
            check(model, given)
            check(model, given, whole=False)

    return case


def extra(rng: Random) -> Callable[[], object]:
    """An Airflow connection."""
    fields = bent(rng, FIELDS)
    fields = fields if isinstance(fields, dict) else {"extra": fields}
    if rng.random() < 0.4:
        fields["extra"] = as_json(rng, fields.get("extra")).decode(errors="replace")
    known = {name: value for name, value in fields.items() if name in FIELDS}

    def case() -> None:
        keys = dict(redact._keys)
        try:
            repr(Settings.from_fields(**known))
        finally:
            # No other case has had this key.
            redact._keys = keys

    return case


def request(rng: Random) -> Callable[[], object]:
    """What templates, XComs and rows make of an operator's arguments."""
    given = bent(rng, ARGUMENTS)
    named = (
        {name: given.get(name) for name in ARGUMENTS}
        if isinstance(given, dict)
        else {**ARGUMENTS, "prompt": given}
    )

    def case() -> None:
        arguments = RequestArguments.read(named)
        asked = arguments.request()
        json.dumps(arguments.as_json(), allow_nan=False)
        json.dumps(settle(asked, SCHEMA, "job"), allow_nan=False, ensure_ascii=False).encode()

    return case


def headers(rng: Random) -> Callable[[], object]:
    """Headers that are read one by one."""
    named = {}
    for name, value in rng.sample(HEADERS, 6):
        told = value.decode("latin-1") if rng.random() < 0.5 else value.decode(errors="replace")
        named[name.decode()] = texts(rng, told[:2000]) if rng.random() < 0.5 else told

    def case() -> None:
        clock.retry_after(named)
        clock.read_date(named.get("date", ""))
        sums = Checksums(named)
        sums.update(b"image")
        sums.doubt  # noqa: B018

    return case


@cache
def _picture(number: int, side: int) -> bytes:
    kind, mode, options = PICTURES[number]
    noise = Random(side)
    frames = options.get("frames", 1)
    drawn = [
        Image.frombytes("RGB", (side, side), noise.randbytes(side * side * 3)).convert(
            {"I;16": "I"}.get(mode, mode)
        )
        for _ in range(frames)
    ]
    if mode == "I;16":
        drawn = [image.convert("I;16") for image in drawn]
    written, more = io.BytesIO(), {name: value for name, value in options.items() if name != "frames"}
    if frames > 1:
        more |= {"save_all": True, "append_images": drawn[1:]}
    drawn[0].save(written, kind, **more)
    return written.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@cache
def _zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    unit = bytes(1024 * 1024)
    return b"".join(packer.compress(unit) for _ in range(megabytes)) + packer.flush()


def _png(rng: Random) -> bytes:
    """Return a PNG with odd chunks, whose checksums fit."""
    wide = rng.choice((1, 16, 16, 16, 4000, 10_000, 65_535, 2**31 - 1, 0))
    high = rng.choice((1, 12, 12, 12, 4000, 10_000, 65_535, 2**31 - 1, 0))
    header = struct.pack(
        ">IIBBBBB",
        wide,
        high,
        rng.choice((8, 8, 16, 1, 7)),
        rng.choice((0, 2, 3, 4, 6, 6, 9)),
        0,
        0,
        rng.choice((0, 1, 2)),
    )
    chunks = [_chunk(b"IHDR", header)]
    for _ in range(rng.choice((0, 1, 2, 5))):
        name = rng.choice(
            (
                b"tEXt",
                b"zTXt",
                b"iTXt",
                b"iCCP",
                b"PLTE",
                b"tRNS",
                b"gAMA",
                b"pHYs",
                b"eXIf",
                b"acTL",
                b"fcTL",
                b"fdAT",
                b"sRGB",
                b"cHRM",
                b"IDAT",
                b"abcd",
                b"ABCD",
                b"bKGD",
            )
        )
        content = rng.choice(
            (
                b"",
                b"a",
                b"key\0\0" + (_zeros(64) if rng.random() < 0.1 else zlib.compress(b"text")),
                rng.randbytes(26),
                struct.pack(">II", rng.choice((1, 2, 1000, 2**31)), 0),
                bytes(768),
                rng.randbytes(300),
                b"II*\0\x08\0\0\0" + rng.randbytes(40),
                struct.pack(">IIIIIHHBB", 0, wide, high, 0, 0, 1, 1, 0, 0),
            )
        )
        chunks.append(_chunk(name, content))
    body = rng.choice(
        (zlib.compress(bytes(16 * 12 * 8 + 12)), zlib.compress(b""), _zeros(1), b"", rng.randbytes(50))
    )
    if rng.random() < 0.01:
        body = _zeros(200)
    chunks.append(_chunk(b"IDAT", body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def image(rng: Random) -> Callable[[], object]:
    """A picture, or what is told to be one."""
    if rng.random() < 0.25:
        content = _png(rng)
    else:
        content = _picture(rng.randrange(len(PICTURES)), rng.choice((1, 9, 16, 16, 40)))
    if rng.random() < 0.85:
        content = bytes_of(rng, content)
    if rng.random() < 0.05:
        content += rng.choice((content, b"\0" * 5000, b"\xff\xd8\xff" + b"\xff\xe1\0\x02" * 5000))
    size = rng.choice((None, SMALL, LARGE))

    def case() -> None:
        got = fetched.from_bytes(content)
        try:
            verify.prove(got, partial(preview, size=size) if size else None)
        finally:
            if got.file.tell():
                raise AssertionError("the file was not left at its beginning")

    return case


def text(rng: Random) -> Callable[[], object]:
    """An image as text."""
    content = base64.b64encode(_picture(rng.randrange(12), 9)).decode()
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = texts(rng, content)
    content = rng.choice(
        (
            content,
            f"data:image/png;base64,{content}",
            f"data:{content}",
            f"'{content}'",
            f"b'{content}'",
            str(odd(rng))[:9000],
            "data:" * 2000 + content,
            "%" * 5000,
            "=" * 100_000,
            "-_" * 5000,
            " " * 100_000,
            "'" * 50_000 + content,
        )
    )

    def case() -> None:
        got = fetched.from_base64(content)
        try:
            verify.judge(got)
        except OxenBadImage as error:
            error.reason.encode()
        finally:
            got.close()

    return case
