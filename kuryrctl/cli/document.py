"""One document on stdout, as JSON or YAML: what ``-f`` prints where the answer is no table."""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("table", "json", "yaml")
"""What ``-f`` takes; ``table`` stands for what people read."""


def as_text(document: object, form: str) -> str:
    """The document in this format (``json`` or ``yaml``), its keys in their own order."""
    import msgspec

    if form == "json":
        return msgspec.json.format(msgspec.json.encode(document)).decode()
    import yaml  # 20 ms that JSON does not cost

    return str(yaml.safe_dump(msgspec.to_builtins(document), sort_keys=False, allow_unicode=True)).rstrip("\n")
