"""Keep what ts-json-schema-generator wrote: one file, without descriptions, sorted, with where it comes from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def bare(schema: Any) -> Any:
    """The schema without its descriptions; a property may be called `description`."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    named = ("properties", "definitions")
    return {
        key: {name: bare(each) for name, each in value.items()}
        if key in named and isinstance(value, dict)
        else bare(value)
        for key, value in schema.items()
        if key != "description" or not isinstance(value, str)
    }


def main(made: Path, kept: Path, source: str) -> None:
    """Write `grafana.json`: one schema for each type."""
    kept.mkdir(parents=True, exist_ok=True)
    schemas = {path.stem: bare(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(made.glob("*.json"))}
    notice = f"Made from the types in {source}, Copyright Grafana Labs, Apache-2.0; descriptions were left out."
    content = {"$comment": notice, "schemas": schemas}
    (kept / "grafana.json").write_text(json.dumps(content, sort_keys=True, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
