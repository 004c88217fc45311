"""Write spec/vectors and the other generated files of spec/ again."""

from __future__ import annotations

from pathlib import Path

from tools.vectors.files import vector_files

SPEC = Path(__file__).parents[2] / "spec"


def main() -> None:
    """Write every file and say which ones changed."""
    for name, text in vector_files().items():
        path = SPEC / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("ascii") != text:
            path.write_text(text, "ascii")
            print(f"wrote {path.relative_to(SPEC.parent)}")  # the tool's output


if __name__ == "__main__":
    main()
