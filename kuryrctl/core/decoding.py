"""JSON and plain values into types, from any number of threads: one teaches a type to msgspec while others wait.

msgspec (0.22) learns the fields of a Struct at its first use, and hands out what it has before it is through: a second
thread that decodes the same Struct meanwhile reads what is not there yet, and the process dies of a segmentation fault.
Seen with eight load balancers that were made side by side. Does not know: what is decoded.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")
_made: dict[Any, msgspec.json.Decoder[Any]] = {}
_lock = threading.Lock()


@overload
def decode(data: bytes | str | msgspec.Raw, type_: type[T]) -> T: ...
@overload
def decode(data: bytes | str | msgspec.Raw, type_: Any) -> Any: ...
def decode(data: bytes | str | msgspec.Raw, type_: Any) -> Any:
    """JSON as a typed value. Raises msgspec.DecodeError, ValidationError."""
    return _decoder(type_).decode(data)


@overload
def convert(plain: object, type_: type[T]) -> T: ...
@overload
def convert(plain: object, type_: Any) -> Any: ...
def convert(plain: object, type_: Any) -> Any:
    """Plain JSON types as a typed value. Raises msgspec.ValidationError."""
    _decoder(type_)
    return msgspec.convert(plain, type_)


def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    found = _made.get(type_)
    if found is not None:
        return found
    with _lock:
        if type_ not in _made:
            _made[type_] = msgspec.json.Decoder(type_)
        return _made[type_]
