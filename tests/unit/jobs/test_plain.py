"""What reaches a request is plain JSON, and the number that was meant; what cannot be so is named."""

from __future__ import annotations

import json
import math
import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.jobs.plain import plain, shortest


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (True, True),
        ("007", "007"),
        (3.0, 3.0),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        ((1, (2.5, None)), [1, [2.5, None]]),
        ({"a": ({"b": ()},)}, {"a": [{"b": []}]}),
        (Decimal("3.70"), 3.7),
        (Decimal("4"), 4),
        (Decimal("4.00"), 4.0),
        (Decimal("1E+3"), 1000),
    ],
    ids=repr,
)
def test_values_are_as_json_has_them(value, found):
    made = plain("p", value)

    assert (made, type(made)) == (found, type(found))
    assert json.loads(json.dumps(made)) == found


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**64, "p is an integer of more than 64 bits"),
        (10**5000, "p is an integer of more than 64 bits"),
        (-(2**63) - 1, "p is an integer of more than 64 bits"),
        (math.nan, "p is nan, and JSON has no such number"),
        (-math.inf, "p is -inf, and JSON has no such number"),
        (json.loads("1e400"), "p is inf, and JSON has no such number"),
        (Decimal("NaN"), "p is nan, and JSON has no such number"),
        (Decimal("0.1000000000000000055511151231257827"), "which no number of 64 bits holds exactly"),
        ({1, 2}, "p is {1, 2}, of type set"),
        (Path("/x"), "of type PosixPath"),
        (timedelta(1), "of type timedelta"),
        (datetime(2026, 1, 1, tzinfo=UTC), "of type datetime"),
        (date(2026, 1, 1), "of type date"),
        (b"x", "p is b'x', of type bytes"),
        (1j, "of type complex"),
        ({1: 2}, "p has 1 as a name, which is no text"),
        ([{"a": [math.nan]}], "p[0]['a'][0] is nan"),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else f"int of {value.bit_length()}",
)
def test_what_json_has_not_is_named(value, said):
    with pytest.raises(OxenInvalidRequest) as caught:
        plain("p", value)

    assert said in str(caught.value)
    assert caught.value.spent == "no"


def test_what_ends_in_itself_is_refused_in_a_few_words():
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(OxenInvalidRequest, match="nested too deep") as caught:
        plain("p", endless)

    assert len(str(caught.value)) < 250


class TestNumpy:
    numpy: Any = pytest.importorskip("numpy")

    def test_scalars_are_pythons_own(self):
        np = self.numpy
        for value, found in [
            (np.int64(3), 3),
            (np.uint64(2**64 - 1), 2**64 - 1),
            (np.bool_(True), True),
            (np.float64(3.7), 3.7),
            (np.float32(3.7), 3.7),
            (np.float16(3.7), 3.7),
            (np.float32(16777217), 16777216.0),
        ]:
            assert json.dumps(plain("p", value)) == json.dumps(found)

    def test_arrays_are_lists_of_them(self):
        np = self.numpy
        assert plain("p", np.array([[1.1, 3.7]], dtype="float32")) == [[1.1, 3.7]]
        assert plain("p", [np.int32(1), {"a": np.array([2])}]) == [1, {"a": [2]}]

    def test_what_has_no_json_is_named(self):
        with pytest.raises(OxenInvalidRequest, match="of type datetime"):
            plain("p", self.numpy.datetime64("2026-01-01T00:00:00"))
        with pytest.raises(OxenInvalidRequest, match="p is nan"):
            plain("p", self.numpy.float32("nan"))


class TestPandas:
    pandas: Any = pytest.importorskip("pandas")

    def test_missing_values_set_nothing_and_integers_beside_them_stay(self):
        pd = self.pandas
        frame = pd.DataFrame({"n": pd.array([3, None], dtype="Int64"), "t": [pd.NaT, pd.NaT]})

        rows = [plain("p", row) for row in frame.to_dict("records")]

        assert json.dumps(rows) == '[{"n": 3, "t": null}, {"n": null, "t": null}]'


def fits(letter: str, wanted: float) -> Any:
    return lambda value: struct.unpack(letter, struct.pack(letter, value))[0] == wanted


@pytest.mark.parametrize("number", [3.7, 0.1, 1e-5, 16777216.0, -2.5, 1 / 3, 0.0, 1e38])
def test_a_narrow_number_is_the_one_with_the_fewest_digits(number):
    narrow = struct.unpack("f", struct.pack("f", number))[0]

    found = shortest(narrow, digits=6, fits=fits("f", narrow))

    assert struct.pack("f", found) == struct.pack("f", narrow)
    assert len(repr(found)) <= max(len(repr(number)), 12)
    assert number == found or number == 1 / 3


def test_a_number_that_is_none_stays_what_it_is():
    assert shortest(math.inf, digits=6, fits=lambda value: True) == math.inf
    # It never guesses.
    assert shortest(3.7, digits=6, fits=lambda value: False) == 3.7
