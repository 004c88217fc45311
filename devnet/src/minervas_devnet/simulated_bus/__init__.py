"""Simulated RS-485 buses: real Modbus RTU slaves behind pairs of pseudo terminals, replaying a measured solar day.

A gateway that opens the bus' device cannot tell the difference: `wire` is the cable, pymodbus' serial server the
slaves, `meters` what they measure, `faults` what goes wrong on the way. A test or a demo decides when, by `control`.
"""
