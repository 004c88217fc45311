"""Whether values that a map gave can be those of a meter, when nothing is known about what is connected to it. Pure."""

from __future__ import annotations

from minervas_core.meter_maps.decoding import Values

MAX_POWER_MW = 10_000_000_000
"""10 MW, the most that settings may rate a channel with."""
MAX_VOLTAGE_MV = 1_500_000
"""Low voltage, AC and DC, ends there or before."""
MAX_CURRENT_MA = 10_000_000
MAX_ENERGY_MWH = 10**13
"""10 GWh: 10 MW for more than a month, and more than any of these meters counts."""
MIN_LIVE_VOLTAGE_MV = 1_000
PHASES = 3
POWER_MARGIN_MW = 50_000


def why_unlikely(values: Values) -> str:
    """Why nobody measures that; empty if it can be. All zero is what registers show that mean something else."""
    volts, amperes = values.voltage_mv, values.current_ma
    dead = volts is not None and volts < MIN_LIVE_VOLTAGE_MV
    reasons = {
        "power beyond 10 MW": abs(values.power_mw) > MAX_POWER_MW,
        "voltage not between 0 and 1500 V": volts is not None and not 0 <= volts <= MAX_VOLTAGE_MV,
        "current beyond 10 kA": amperes is not None and abs(amperes) > MAX_CURRENT_MA,
        "energy beyond 10 GWh": values.energy_mwh > MAX_ENERGY_MWH,
        "all zero": not any((values.power_mw, values.energy_mwh, volts, amperes)),
        "power without voltage": dead and values.power_mw != 0,
        "voltage and current without power": values.power_mw == 0 and _apparent_mw(volts, amperes) > POWER_MARGIN_MW,
        "more power than voltage and current give": None not in (volts, amperes)
        and abs(values.power_mw) > 2 * PHASES * _apparent_mw(volts, amperes) + POWER_MARGIN_MW,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _apparent_mw(voltage_mv: int | None, current_ma: int | None) -> int:
    """Voltage times current of one phase; 0 if either is missing."""
    return (voltage_mv or 0) * abs(current_ma or 0) // 1_000
