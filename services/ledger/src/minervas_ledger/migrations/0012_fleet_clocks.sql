-- What services say of their clocks and spools themselves, beside what the operator's ledger sees of their clocks.

ALTER TABLE fleet ADD COLUMN clock_synchronised boolean;
ALTER TABLE fleet ADD COLUMN told_offset_ms bigint;
ALTER TABLE fleet ADD COLUMN spool_readings bigint;

COMMENT ON COLUMN fleet.clock_synchronised IS 'What the service''s kernel says; NULL if it does not tell.';
COMMENT ON COLUMN fleet.told_offset_ms IS 'How far that kernel believes its clock to be off.';
COMMENT ON COLUMN fleet.spool_readings IS 'Readings that a gateway has and its ledger has not acknowledged.';
