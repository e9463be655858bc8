"""The operator's own error page: a file that is named in the configuration and read together with it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic_core import core_schema

from config.problems import Place, Problem, Unfit, listed, nearest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

LARGEST = 64 * 1024
"""Bytes of the file: it is sent with every error, also when there are many."""
PLACEHOLDERS = ("status", "title", "detail", "request_id")
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A name in braces. Braces around anything else, as in a style sheet, are text."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A template of HTML by its path. With its text it is another value once the file has changed."""

    path: str
    text: str | None = None
    """None until it is read."""

    def __str__(self) -> str:
        return self.path

    def read(self, folder: pathlib.Path) -> PageFile:
        """With its text; a relative path begins at `folder`. Raises OSError and Unfit."""
        file = folder / self.path
        if file.exists() and not file.is_file():  # a pipe would keep whoever opens it waiting
            raise Unfit("must be the path of a regular file", self.path)
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Unfit(f"must be the path of a file of at most {LARGEST // 1024} KiB", self.path)
        try:
            return PageFile(self.path, content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise Unfit("must be the path of a file of UTF-8 text", self.path) from None

    def problems(self, folder: pathlib.Path) -> Iterator[Problem]:
        """What is wrong in the text, at its place there."""
        text = self.text or ""
        for found in PLACEHOLDER.finditer(text):
            if found[1] in PLACEHOLDERS:
                continue
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            known = listed([f"{{{name}}}" for name in PLACEHOLDERS])
            close = nearest(found[1], PLACEHOLDERS)
            hint = f"; did you mean {{{close}}}?" if close else "; { a space } keeps braces as they are"
            message = f"must have no placeholder but {known}, not {found[0][:60]}{hint}"
            yield Problem.at(Place(str(folder / self.path), line, column, "errors.page"), message)

    @classmethod
    def _validated(cls, value: object) -> PageFile:
        if isinstance(value, PageFile):
            return value
        if isinstance(value, str) and value and "\0" not in value:
            return cls(value)
        raise Unfit("must be the path of an HTML file, such as error.html", value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1, "examples": ["error.html", "/etc/balancer/error.html"]}
