"""Messages come out whole, wherever the stream was cut into pieces."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api.sse import LONGEST, Message, Parser

STREAM = (
    "\ufeff: welcome\n\n"
    'event: media_generation_completed\ndata: {"generation_id": "a"}\n\n'
    ": keep-alive\n\n"
    "event: other\r\ndata: one\r\ndata:two\r\nid: 7\r\nretry: 3000\r\n\r\n"
    "data: ü\r\r"
    "event: without data\n\n"
    "data\n\n"
)
MESSAGES = [
    Message("media_generation_completed", '{"generation_id": "a"}'),
    Message("other", "one\ntwo"),
    Message("message", "ü"),
    Message("message", ""),
]


def test_messages_are_read_as_the_standard_says():
    assert Parser().feed(STREAM.encode()) == MESSAGES


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17])
def test_pieces_may_be_cut_anywhere(size):
    parser, stream = Parser(), STREAM.encode()

    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]

    assert [message for piece in pieces for message in parser.feed(piece)] == MESSAGES


def test_a_line_end_in_two_pieces_is_one():
    parser = Parser()

    assert parser.feed(b"data: one\r") == []
    assert parser.feed(b"\ndata: two\r\n\r\n") == [Message("message", "one\ntwo")]


def test_a_message_that_was_cut_off_is_none():
    assert Parser().feed(b"event: x\ndata: half") == []


def test_what_is_no_text_is_no_reason_to_stop():
    assert Parser().feed(b"data: \xff\n\n") == [Message("message", "\ufffd")]


@pytest.mark.parametrize("line", [b"data: ", b": a comment that never ends ", b"data: x\ndata: "])
def test_a_message_without_an_end_is_given_up(line):
    parser = Parser()
    parser.feed(line)

    with pytest.raises(ValueError, match="longer than 65,536 bytes"):
        parser.feed(b"x" * LONGEST)


def test_many_messages_may_be_longer_together():
    parser = Parser()

    for _ in range(3):
        assert len(parser.feed(b"data: " + b"x" * (LONGEST // 2) + b"\n\n")) == 1
