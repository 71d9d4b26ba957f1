"""The structural schemas of our own manifests, applied as an API server does: prune, then validate.

Only the words that our schemas use; an unknown one is an error, so that the fake never accepts more than the real one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from kuryrctl.kube.install import manifests

_KNOWN = {
    "type", "description", "properties", "required", "items", "pattern", "minLength", "maxLength", "minItems",
    "maxItems", "minimum", "maximum", "nullable", "format", "enum",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
}  # fmt: skip
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
}  # fmt: skip
_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "self == oldSelf": lambda new, old: old is None or new == old,
    "(self.protocol == 'ICMP') != (has(self.port) && self.port > 0)": lambda new, old: (
        (new.get("protocol") == "ICMP") != (new.get("port", 0) > 0)
    ),
}
"""What our CEL rules mean."""


@functools.cache
def schemas() -> dict[str, dict[str, Any]]:
    """The schema of each of our kinds, by plural. Read only."""
    return {
        manifest.body["spec"]["names"]["plural"]: manifest.body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for manifest in manifests()
        if manifest.kind == "CustomResourceDefinition"
    }


def pruned(schema: dict[str, Any], value: Any) -> Any:
    """The value without the fields that the schema does not know, and without nulls that it does not allow."""
    if isinstance(value, list) and "items" in schema:
        return [pruned(schema["items"], item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    known = {name: part for name, part in value.items() if name in schema["properties"]}
    return {
        name: pruned(schema["properties"][name], part)
        for name, part in known.items()
        if part is not None or schema["properties"][name].get("nullable")
    }


def problems(schema: dict[str, Any], value: Any, old: Any, path: str) -> Iterator[str]:
    """What an API server would refuse, one line each. `old` None: created, or not set before."""
    if unknown := schema.keys() - _KNOWN:
        raise NotImplementedError(f"{path}: the fake does not know {unknown}")
    if value is None and schema.get("nullable"):
        return
    expected = _TYPES[schema["type"]]
    if not isinstance(value, expected) or (schema["type"] in ("integer", "number") and isinstance(value, bool)):
        yield f"{path}: Invalid value: must be of type {schema['type']}"
        return
    match value:
        case dict():
            yield from _object(schema, value, old, path)
        case list():
            yield from _array(schema, value, path)
        case str():
            yield from _string(schema, value, path)
        case int() | float() if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            yield f"{path}: Invalid value: {value}: out of range"
    if "enum" in schema and value not in schema["enum"]:
        yield f'{path}: Unsupported value: "{value}"'
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _RULES[rule["rule"]](value, old):
            yield f"{path}: Invalid value: {rule['message']}"


def _object(schema: dict[str, Any], value: dict[str, Any], old: Any, path: str) -> Iterator[str]:
    yield from (f"{path}.{name}: Required value" for name in schema.get("required", ()) if name not in value)
    for name, part in value.items():
        before = old.get(name) if isinstance(old, dict) else None
        yield from problems(schema["properties"][name], part, before, f"{path}.{name}")


def _array(schema: dict[str, Any], value: list[Any], path: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema["maxItems"]:
        yield f"{path}: Invalid value: {len(value)} items"
    keys: list[Any] = []
    match schema["x-kubernetes-list-type"]:
        case "map":
            keys = [tuple(item.get(key) for key in schema["x-kubernetes-list-map-keys"]) for item in value]
        case "set":
            keys = value
    if any(keys.count(key) > 1 for key in keys):
        yield f"{path}: Duplicate value"
    for index, item in enumerate(value):
        yield from problems(schema["items"], item, None, f"{path}[{index}]")


def _string(schema: dict[str, Any], value: str, path: str) -> Iterator[str]:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path}: Invalid value: {len(value)} characters"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f'{path}: Invalid value: "{value}": should match {schema["pattern"]}'
    if schema.get("format") == "date-time":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            yield f'{path}: Invalid value: "{value}": must be of type date-time'
