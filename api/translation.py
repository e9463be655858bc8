"""Turns what Control refuses into problems that callers understand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from api.problems import Fault, Problem
from balancer.changes import Conflict, Stale, Unknown
from balancer.control import PublishError
from config.amend import BODY
from config.file_only import FileOnly
from config.origin import Nowhere
from config.problems import ConfigError, json_pointer, path_of
from config.problems import Problem as Found
from config.save import HalfSaved
from config.splice import Unsaved
from config.state import StateError


@contextmanager
def as_problems(places: Mapping[str, str] | None = None) -> Iterator[None]:
    """`places` leads from paths of the configuration to the fields of the body that asked for them."""
    places = places or {}
    try:
        yield
    except Unknown as error:
        raise Problem(404, str(error.args[0])) from None
    except Conflict as error:
        raise Problem(409, str(error)) from None
    except Stale as error:
        raise Problem(412, str(error)) from None
    except FileOnly as error:
        faults = [fault_of(problem, places) for problem in error.problems]
        raise Problem(422, "there is something in it that only the file may say; nothing was changed", faults) from None
    except ConfigError as error:
        faults = [fault_of(problem, places) for problem in error.problems]
        raise Problem(422, "the configuration would not be valid; nothing was changed", faults) from None
    except PublishError as error:
        faults = [_fault_of_sentence(sentence, places) for sentence in error.problems]
        raise Problem(422, "the configuration can not be made so; nothing was changed", faults) from None
    except Unsaved as error:
        faults = [fault_of(problem, places) for problem in error.problems]
        detail = (
            "the file can not be made to say this; nothing was written. Write what is named into the file by hand, or "
            "take it back by PATCH with null, and the rest can be saved"
        )
        raise Problem(409, detail, faults) from None
    except Nowhere as error:
        raise Problem(404, str(error)) from None
    except HalfSaved as error:
        raise Problem(507, str(error)) from None
    except StateError as error:
        raise Problem(507, f"{error}; nothing was changed") from None


def fault_of(problem: Found, places: Mapping[str, str] | None = None) -> Fault:
    """A problem of a configuration with its place: in the body, in a file, or at least by its path."""
    in_body = problem.file == BODY and problem.line
    return Fault(
        pointer=json_pointer(path_of(problem.path)) if in_body else _pointer(problem.path, places or {}),
        message=problem.message,
        line=problem.line or None,
        column=problem.column or None,
    )


def _fault_of_sentence(sentence: str, places: Mapping[str, str]) -> Fault:
    """One of PublishError's: a path, a colon and what is wrong, or just that."""
    path, colon, message = sentence.partition(": ")
    if not colon or " " in path:
        return Fault(pointer="", message=sentence)
    return Fault(pointer=_pointer(path, places), message=message)


def _pointer(path: str, places: Mapping[str, str]) -> str:
    """The field that said it, or else the path in the configuration."""
    for place, pointer in places.items():
        if path == place or path.startswith(f"{place}."):
            return pointer + path[len(place) :].replace(".", "/")
    return path
