"""Command line: ``python -m minervas_devnet.simulated_bus --config FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minervas_devnet.simulated_bus.settings import load_simulation_settings
from minervas_devnet.simulated_bus.simulation import run_simulation
from minervas_runtime.service import report_errors, run_service

NAME = "simulated-bus"


def main() -> int:
    """Simulate until stopped; returns the exit status: 0 stopped, 1 failed, 2 unusable arguments or settings."""
    parser = argparse.ArgumentParser(prog=f"minervas-{NAME}", description="Simulates RS-485 buses with Modbus meters.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (TOML)")
    arguments = parser.parse_args()
    return report_errors(
        parser.prog, lambda: run_service(NAME, load_simulation_settings(arguments.config), run_simulation)
    )


if __name__ == "__main__":
    sys.exit(main())
