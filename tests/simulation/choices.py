"""What happens at each step of a history, and which history comes next."""

from __future__ import annotations

__all__ = ["WELL", "Choices"]

WELL = "well"


class Choices:
    """What happens at each step: as told, and then well, as long as there are troubles left."""

    def __init__(self, told: list[int], troubles: int) -> None:
        self.told, self.left = told, troubles
        self.taken: list[int] = []
        self.widths: list[int] = []

    def take(self, options: tuple[str, ...]) -> str:
        if not self.left:
            return options[0]
        place = len(self.taken)
        choice = self.told[place] if place < len(self.told) else 0
        self.taken.append(choice)
        self.widths.append(len(options))
        self.left -= choice > 0
        return options[choice]

    def after(self) -> list[int] | None:
        """Return the choices of the next history, None after the last."""
        for place in reversed(range(len(self.taken))):
            if self.taken[place] + 1 < self.widths[place]:
                return [*self.taken[:place], self.taken[place] + 1]
        return None
