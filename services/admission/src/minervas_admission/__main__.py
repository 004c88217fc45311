"""Entry point of ``minervas-admission`` and ``python -m minervas_admission``."""

from __future__ import annotations

import sys

from minervas_admission.cli import run


def main() -> None:
    """Run the command line and end with its exit status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
