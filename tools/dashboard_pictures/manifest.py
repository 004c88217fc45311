"""From which JSON each picture was drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "docs" / "screens"
GRAFANA = ROOT / "infra" / "grafana"
PAGE = Path(__file__).parent / "page"
MANIFEST = SCREENS / "grafana.json"


def sha256_of(file: Path) -> str:
    """The hash of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
