"""Base64 of any usual dialect gives the same bytes."""

from __future__ import annotations

import base64
import random
import textwrap
from urllib.parse import quote

import pytest

from airflow_provider_oxen.images.received import decode

# All of the alphabet, and a length that needs padding.
CONTENT = random.Random(1).randbytes(1000)
TEXT = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"  {TEXT}\n",
        base64.urlsafe_b64encode(CONTENT).decode(),
        TEXT.rstrip("="),
        f"{TEXT}==",
        "\r\n".join(textwrap.wrap(TEXT, 76)),
        "\\n".join(textwrap.wrap(TEXT, 76)),
        base64.encodebytes(CONTENT).decode(),
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;charset=utf-8; base64 ,{TEXT}",
        f"data:;base64,{base64.urlsafe_b64encode(CONTENT).decode().rstrip('=')}",
        f"data:application/octet-stream,{quote(CONTENT, safe='')}",
        quote(TEXT, safe=""),
        f"data:image/png;base64,{quote(TEXT, safe='')}",
        f"b'{TEXT}'",
        f'"{TEXT}"',
    ],
    ids=lambda text: text[:40],
)
def test_bytes_come_out_as_they_were(text):
    assert {"+", "/", "="} <= set(TEXT)
    assert decode(text) == CONTENT


@pytest.mark.parametrize(
    "text", ["this is *not* base64", "A", "data:image/png;base64,*", "Zm9v=Zm9v", "é" * 8]
)
def test_what_is_no_base64_is_not_guessed_at(text):
    with pytest.raises(ValueError):  # noqa: PT011 - its words are Python's
        decode(text)
