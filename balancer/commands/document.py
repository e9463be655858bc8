"""A JSON object that an API answered with, read by name: what is not there is None or empty, no error."""

from __future__ import annotations

from collections.abc import Mapping

from balancer.commands.console import printable


class Part:
    """One object of a document.

    A command and a balancer of different versions understand each other as far as the fields they share.
    """

    def __init__(self, value: object) -> None:
        self.fields: Mapping[str, object] = value if isinstance(value, dict) else {}

    def part(self, *path: str) -> Part:
        found = self
        for name in path:
            found = Part(found.fields.get(name))
        return found

    def parts(self, name: str) -> dict[str, Part]:
        """The objects of a mapping, by name, fit for a terminal too."""
        return {printable(key): Part(value) for key, value in self.part(name).fields.items()}

    def items(self, name: str) -> list[Part]:
        """The objects of a list."""
        found = self.fields.get(name)
        return [Part(item) for item in found] if isinstance(found, list) else []

    def text(self, name: str) -> str | None:
        """A string, fit for a terminal."""
        found = self.fields.get(name)
        return printable(found) if isinstance(found, str) else None

    def number(self, name: str) -> float | None:
        found = self.fields.get(name)
        return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None

    def count(self, name: str) -> int:
        return int(self.number(name) or 0)

    def flag(self, name: str) -> bool:
        return self.fields.get(name) is True
