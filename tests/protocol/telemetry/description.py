"""The description of what goes over the broker, and a check of payloads against it alone.

The check knows JSON Schema as far as the description uses it, and raises at what it doesn't know.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import protocol.telemetry

FILE = Path(protocol.telemetry.__file__).with_name("asyncapi.yaml")
_KNOWN = {
    "type", "properties", "required", "description", "default", "enum", "pattern", "items",
    "minimum", "maximum", "minLength", "maxLength", "maxItems",
}  # fmt: skip
_TYPES = {"object": dict, "array": list, "string": str, "integer": int}


@cache
def description() -> dict[str, Any]:
    """Read the description."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return read


def resolve(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the description."""
    if "$ref" not in schema:
        return schema
    found = described
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolve(described, found)


def schema_at(topic: str) -> dict[str, Any]:
    """Find the schema of what is said under a topic, by the description's addresses."""
    described = description()
    for channel in described["channels"].values():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
        if re.fullmatch(pattern, topic):
            (message,) = channel["messages"].values()
            return resolve(described, resolve(described, message)["payload"])
    raise AssertionError(f"the description has no channel for {topic}")


def check(topic: str, payload: bytes) -> None:
    """Raise AssertionError where a payload is not what the description says of its topic."""
    assert len(payload) <= 4_096
    _check(description(), schema_at(topic), json.loads(payload), "$")


def _check(described: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> None:
    schema = resolve(described, schema)
    assert not set(schema) - _KNOWN, f"{path}: {sorted(set(schema) - _KNOWN)}"
    if "enum" in schema:
        assert value in schema["enum"], f"{path}: {value}"
    if "type" in schema:
        assert isinstance(value, _TYPES[schema["type"]]), f"{path}: {value!r}"
        assert not isinstance(value, bool), path
    if isinstance(value, int):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), path
    if isinstance(value, str):
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6), path
        assert re.search(schema.get("pattern", ""), value), path
    if isinstance(value, list):
        assert len(value) <= schema.get("maxItems", 10**6), path
        for index, one in enumerate(value):
            _check(described, schema["items"], one, f"{path}[{index}]")
    if isinstance(value, dict):
        assert not set(schema.get("required", ())) - set(value), path
        for name, one in value.items():
            # The centre may ignore what it doesn't know; what is said by us is described.
            assert name in schema["properties"], f"{path}.{name} is not described"
            _check(described, schema["properties"][name], one, f"{path}.{name}")
