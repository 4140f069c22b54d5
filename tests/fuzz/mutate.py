"""Makes odd data of good data, and knows what it is made of: values first, and then the bytes of their JSON.

A case is made of its seed alone, so that it can be made again.
"""

from __future__ import annotations

import copy
import json
import math
from random import Random
from typing import Any

__all__ = ["KEY", "LINK", "SIGNATURE", "as_json", "bent", "bytes_of", "texts"]

KEY = "Qk7-of-nobody-at-all"
SIGNATURE = "5ig9-that-nobody-may-see"
LINK = f"https://hub.example/files/image.png?X-Signature={SIGNATURE}"

_RAW = "@raw:{}:@"
"""Stands in a value for bytes of JSON that no Python value is written as."""

_TOKENS = {
    "digits": b"9" * 5000,
    "many digits": b"7" * 300_000,
    "fraction": b"0." + b"3" * 20_000,
    "exponent": b"1e999999999",
    "exponent down": b"-1e-999999999",
    "zeros": b"-0",
    "deep list": b"[" * 3000 + b"]" * 3000,
    "very deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "deep enough": b"[" * 150 + b"]" * 150,
    "deep url": b'{"url":' * 120 + b'"https://hub.example/a.png"' + b"}" * 120,
    "deep images": b'{"images":[' * 60 + b"]}" * 60,
    "many lists": b"[" + b"[]," * 20_000 + b"[]]",
    "many objects": b"[" + b'{"id":"1","status":"x"},' * 3_000 + b"{}]",
    "many keys": b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(5_000)) + b"}",
    "same keys": b"{" + b",".join([b'"url":"/a.png"'] * 500) + b"}",
    "half": b'"\\ud83d"',
    "other half": b'"a\\udc00b"',
    "half in a key": b'{"\\ud800":"\\udfff"}',
    "nul": b'"\\u0000"',
    "not utf-8": b'"\xff\xfe"',
    "overlong": b'"\xc0\xaf"',
    "long": b'"' + b"a" * 200_000 + b'"',
    "unfinished": b'{"a":[',
    "no comma": b"[1 2]",
    "comment": b"/* */ 1",
}

_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    12,
    256,
    2**31 - 1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    10**400,
    -(10**400),
    0.1,
    -0.0,
    1e308,
    -1e308,
    5e-324,
    math.inf,
    -math.inf,
    math.nan,
    "",
    " ",
    "\n",
    "null",
    "None",
    "true",
    "NaN",
    "-Infinity",
    "1e400",
    "0x10",
    "1_000",
    "٣",
    "\u00e9",
    "💥",
    "\ud800",
    "a\udfffb",
    "\x00",
    "a\x00b",
    "\x1b[31m",
    "\u202e",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    ".hidden",
    "a" * 300,
    "word " * 5000,
    "2026-01-01T00:00:00Z",
    "2026-13-45",
    "+292277026596-12-04",
    "0001-01-01",
    "99999999999999999999",
    "9" * 5000,
    LINK,
    f"see {LINK} now",
    "//host/a.png",
    "http://[::1",
    "http://a:99999/",
    "https://\ud800/",
    "data:image/png;base64,",
    "javascript:alert(1)",
    "<script>alert(1)</script>",
    "{{ conn }}",
    "queued",
    "processing",
    "succeeded",
    "failed",
    "cancelled",
    "unknown",
    "image",
    [],
    {},
    [[]],
    [{}],
    [None],
    [[], {}],
    {"": ""},
    {"a": {"a": {"a": 1}}},
    {"url": LINK},
    {"error": {"message": f"no {LINK}"}},
    b"".hex(),
    {"generation_id": "x"},
    [LINK, LINK],
    ["a", 1, None, {}],
    KEY,
    f"Bearer {KEY}",
)

_PARTS = (
    "\x00",
    "\ud800",
    "💥",
    "\u202e",
    "\n",
    "\r\n",
    " ",
    "?",
    "#",
    "%",
    "%00",
    "%ff",
    "/",
    "\\",
    "..",
    "@",
    ":",
    "[",
    "]",
    "{{",
    "\u0130",
    "é",
    "\ufeff",
    "\x7f",
    "9",
    "-",
    "a" * 1000,
)


def bent(rng: Random, value: Any, times: int | None = None) -> Any:
    """Return a copy of a JSON value with some things in it made odd."""
    value = copy.deepcopy(value)
    for _ in range(times if times is not None else rng.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        value = _once(rng, value)
    return value


def as_json(rng: Random, value: Any) -> bytes:
    """Return the JSON text of a value as bytes, now and then of a rarer kind, or damaged."""
    try:
        text = json.dumps(value, ensure_ascii=rng.random() < 0.8)
    except (ValueError, TypeError):
        # Python does not write so many digits; nor are bytes JSON.
        text = json.dumps(str(type(value)))
    content = text.encode(errors="surrogatepass")[:3_000_000]
    for name, token in _TOKENS.items():
        content = content.replace(f'"{_RAW.format(name)}"'.encode(), token, 3)
    if rng.random() < 0.03:
        # Of a signature that is damaged nobody can tell that it was one.
        content = bytes_of(rng, content.replace(SIGNATURE.encode(), b"x").replace(KEY.encode(), b"x"))
    if rng.random() < 0.02:
        encoding = rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-be"))
        content = content.decode(errors="replace").encode(encoding, errors="replace")
    return content


def bytes_of(rng: Random, content: bytes) -> bytes:
    """Return bytes that are damaged somewhere."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(7):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[at : at + rng.choice((1, 2, 8, 1000))]
            case 2:
                out[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
            case 3:
                out[at:at] = out[at : at + rng.choice((4, 16, 200))]
            case 4:
                del out[at:]
            case 5:
                out[at : at + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\0\1")
                )
            case _ if out:
                at %= len(out)
                out[at] ^= 1 << rng.randrange(8)
    return bytes(out)


def texts(rng: Random, text: str) -> str:
    """Return a text with something in it made odd."""
    at = rng.randrange(len(text) + 1)
    match rng.randrange(6):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + rng.choice(_PARTS) + text[at:]
        case 2:
            return text.swapcase()
        case 3:
            return text * rng.choice((2, 10))
        case 4:
            return f"{rng.choice(_PARTS)}{text}{rng.choice(_PARTS)}"
    return text[::-1]


def odd(rng: Random) -> Any:
    """Return an odd value."""
    if rng.random() < 0.15:
        return _RAW.format(rng.choice(tuple(_TOKENS)))
    return copy.deepcopy(rng.choice(_ODD))


def _once(rng: Random, value: Any) -> Any:
    places = _places(value)
    if not places:
        return _other(rng, value)
    holder, key = rng.choice(places)
    match rng.randrange(12):
        case 0:
            del holder[key]
        case 1:
            holder[key] = odd(rng)
        case 2:
            other, other_key = rng.choice(places)
            holder[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(holder[key])
        case 3:
            other, other_key = rng.choice(places)
            holder[key] = copy.deepcopy(other[other_key])
        case 4 if isinstance(holder, dict):
            new = rng.choice(
                ("", "id", "error", "status", "data", "url", texts(rng, str(key)), str(odd(rng))[:50])
            )
            holder[new] = holder.pop(key)
        case 4 | 5 if isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[:1]) * rng.choice((1, 20, 500)))
        case 6:
            holder[key] = rng.choice(
                ([holder[key]], {"data": holder[key]}, {"0": holder[key]}, [holder[key]] * 3)
            )
        case 7 if isinstance(holder, dict):
            return list(value.items()) if isinstance(value, dict) and holder is value else value
        case _:
            holder[key] = _other(rng, holder[key])
    return value


def _other(rng: Random, value: Any) -> Any:
    """Return a value like this one."""
    if rng.random() < 0.3:
        return odd(rng)
    match value:
        case bool() | None:
            return odd(rng)
        case str():
            return texts(rng, value)
        case float():
            return rng.choice((-value, value * 1000, str(value), [value], 1e300 * value))
        case int():
            told = repr(value)
            return rng.choice((-value, told, f" {told} ", f"{told}0000", [value], value // 2 if value else 1))
        case list():
            return rng.choice(
                (value[:1], value * 2, value[0] if value else {}, dict(enumerate(map(str, value))))
            )
        case dict():
            return rng.choice((list(value), list(value.values()), {**value, "x": odd(rng)}, str(value)))
    return odd(rng)


def _places(value: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    found = [] if found is None else found
    if len(found) > 500:
        return found
    if isinstance(value, dict):
        for key in value:
            found.append((value, key))
            _places(value[key], found)
    elif isinstance(value, list):
        for number in range(len(value[:50])):
            found.append((value, number))
            _places(value[number], found)
    return found
