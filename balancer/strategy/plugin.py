"""A user's own strategy, found by its dotted path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module, invalidate_caches
from inspect import iscoroutinefunction, signature
from random import Random

from balancer.server import Server
from balancer.strategy.contract import Build, OnError, Plugin, Strategy, StrategyError
from balancer.strategy.guarded import Guarded
from config.schema import Pool

Constructor = Callable[[Sequence[Server], Random, Pool], Plugin]


def load_plugin(path: str) -> Build:
    """What builds the strategy at `package.module:Class`; StrategyError when none there can work."""
    cls = _found(path)
    _check_pick(path, cls)
    construct = _constructor(path, cls)

    def build(servers: Sequence[Server], rng: Random, settings: Pool, on_error: OnError) -> Strategy:
        return Guarded(path, lambda: construct(tuple(servers), rng, settings), servers, rng, on_error)

    return build


def _found(path: str) -> type[Plugin]:
    module_name, _, class_name = path.partition(":")
    invalidate_caches()  # the file may be newer than the last look at its folder
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise StrategyError(
                f"{path}: no module named {error.name!r}; its folder must be on PYTHONPATH or installed"
            ) from error
        raise StrategyError(f"{path}: importing {module_name!r} failed: {error}") from error
    except Exception as error:  # an outermost place: importing runs the user's code, which may raise anything
        raise StrategyError(f"{path}: importing {module_name!r} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = sorted(
            name for name, value in vars(module).items() if isinstance(value, type) and hasattr(value, "pick")
        )
        hint = f"; it has {', '.join(classes)}" if classes else ""
        raise StrategyError(f"{path}: module {module_name!r} has no class {class_name!r}{hint}")
    if not isinstance(found, type):
        raise StrategyError(f"{path}: must be a class with a method pick(key, now, tried), not {found!r}")
    return found


def _check_pick(path: str, cls: type) -> None:
    pick = getattr(cls, "pick", None)
    if not callable(pick):
        raise StrategyError(f"{path}: the class has no method pick(self, key, now, tried)")
    if iscoroutinefunction(pick):
        raise StrategyError(f"{path}: pick must be a plain method, not `async def`: nothing may be awaited in it")
    if not _takes(pick, 4):
        raise StrategyError(f"{path}: pick must take (self, key, now, tried), not {signature(pick)}")


def _constructor(path: str, cls: type[Plugin]) -> Constructor:
    """How the class wants to be constructed: see docs/strategies.md."""
    make: Callable[..., Plugin] = cls
    if cls.__init__ is object.__init__ and cls.__new__ is object.__new__:
        return lambda servers, rng, settings: _furnished(make(), servers, rng)
    if _takes(make, 2, settings=None):
        return lambda servers, rng, settings: make(servers, rng, settings=settings)
    if _takes(make, 2):
        return lambda servers, rng, settings: make(servers, rng)
    raise StrategyError(
        f"{path}: must be constructible as {cls.__name__}(servers, rng), not {cls.__name__}{signature(cls)}"
    )


def _furnished(plugin: Plugin, servers: Sequence[Server], rng: Random) -> Plugin:
    """An object whose class has no constructor of its own, with `servers` and `rng` put on it."""
    for name, value in (("servers", servers), ("rng", rng)):
        setattr(plugin, name, value)
    return plugin


def _takes(function: Callable[..., object], count: int, **named: object) -> bool:
    """Whether it can be called with so many values by position, and these by name."""
    try:
        signature(function).bind(*range(count), **named)
    except TypeError:
        return False
    except ValueError:  # a class written in C tells no signature: it shows when it is built
        return True
    return True
