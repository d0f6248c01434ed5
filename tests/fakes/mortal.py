"""A control plane that dies at its n-th call to the store or to a node, and does nothing afterwards."""

import threading
from collections.abc import Callable
from typing import TypeVar, cast

from replication.control.store.base import Store
from replication.model import Node
from replication.rpc.contract import NodeApi

T = TypeVar("T")


class Died(BaseException):
    """The process is gone: nothing may catch it."""


class Fuse:
    """Burns through at call number `calls` (from 0)."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self._mutex = threading.RLock()

    def call(self, function: Callable[..., T], *args: object, **kwargs: object) -> T:
        with self._mutex:
            if self._left <= 0:
                self._left = 0
                raise Died
            self._left -= 1
            return function(*args, **kwargs)


class _Mortal:
    def __init__(self, inner: object, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Callable[..., object]:
        function = getattr(self._inner, name)
        return lambda *args, **kwargs: self._fuse.call(function, *args, **kwargs)


def mortal_store(store: Store, fuse: Fuse) -> Store:
    return cast("Store", _Mortal(store, fuse))


def mortal_connect(connect: Callable[[Node], NodeApi], fuse: Fuse) -> Callable[[Node], NodeApi]:
    return lambda node: cast("NodeApi", _Mortal(connect(node), fuse))
