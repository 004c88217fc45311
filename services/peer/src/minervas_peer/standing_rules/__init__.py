"""Standing rules: orders that the peer places by itself, slot by slot, as its member said (ADR 0047)."""
