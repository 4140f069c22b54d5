"""The findings, as lines for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.contract.answers import Tally
from tests.contract.door import Seen


class Verdict(NamedTuple):
    """What came of a play.

    :ivar failed: what went wrong in it, or None.
    """

    name: str
    seen: Sequence[Seen]
    seconds: float
    failed: str | None

    @property
    def is_wrong(self) -> bool:
        return bool(self.failed) or any(seen.refused or seen.broken for seen in self.seen)


def of_play(verdict: Verdict) -> str:
    """Tell of one play, and once of each thing that is wrong in it."""
    counts = _counts(verdict.seen)
    lines = [f"{verdict.seconds:5.1f} s  {verdict.name:<30} {counts}"]
    if verdict.failed:
        lines.append(f"         FAILED: {verdict.failed}")
    wrong = Counter(
        f"REFUSED: {seen.method} {seen.path}: {seen.refused}"
        if seen.refused
        else f"BROKEN: {seen.operation} {seen.status}: {'; '.join(seen.broken)}"
        for seen in verdict.seen
        if seen.refused or seen.broken
    )
    lines += [f"         {number} x {line}" for line, number in wrong.items()]
    return "\n".join(lines)


def of_operations(verdicts: Sequence[Verdict], names: Iterable[str]) -> str:
    """Tell how often each operation of the document was asked for, and the sums."""
    every = [seen for verdict in verdicts for seen in verdict.seen]
    checked = [seen for seen in every if seen.is_checked]
    lines = ["", f"{'requests':>8} {'refused':>8} {'broken':>7} {'errors':>7}  operation"]
    for name in sorted(names, key=lambda name: name.split()[::-1]):
        mine = [seen for seen in checked if seen.operation == name]
        refused, broken = sum(bool(seen.refused) for seen in mine), sum(bool(seen.broken) for seen in mine)
        errors = sum(seen.status >= 400 for seen in mine)
        lines.append(f"{len(mine):8} {refused:8} {broken:7} {errors:7}  {name}")
    unnamed = sum(seen.unnamed for seen in checked)
    lost = sum(seen.lost for seen in checked)
    lines += [
        "",
        f"Requests: {_counts(every)}.",
        f"Besides: {lost} answers lost on purpose, {unnamed} errors of a status that the document does not "
        f"name, {len(every) - len(checked)} requests for paths that it does not name.",
    ]
    return "\n".join(lines)


def of_answers(tallies: Mapping[str, Tally], seed: str, seconds: float) -> str:
    """Tell what became of Prism's own answers."""
    lines = ["", f"{'answers':>8} {'read':>7} {'raw':>7}  operation (and what it was refused as)"]
    for operation, tally in tallies.items():
        errors = ", ".join(f"{number} {name}" for name, number in sorted(tally.errors.items()))
        more = f" ({errors})" if errors else ""
        lines.append(f"{tally.asked:8} {tally.read:7} {len(tally.raw):7}  {operation}{more}")
    raw = [f"{operation}: {line}" for operation, tally in tallies.items() for line in tally.raw]
    asked = sum(tally.asked for tally in tallies.values())
    lines += [
        "",
        f"Answers of Prism's own: {asked} read, {len(raw)} raised raw (seed {seed}, {seconds:.0f} s).",
        *(f"RAW: {line}" for line in raw[:20]),
    ]
    return "\n".join(lines)


def _counts(seen: Sequence[Seen]) -> str:
    checked = [one for one in seen if one.is_checked]
    refused, broken = sum(bool(one.refused) for one in checked), sum(bool(one.broken) for one in checked)
    return f"{len(checked):4} checked, {refused} refused, {broken} answers broken"
