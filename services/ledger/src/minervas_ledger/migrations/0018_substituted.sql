-- How much of a statement rests on readings that were not measured but read by hand (spec/metering.md).

ALTER TABLE statements ADD COLUMN substituted bigint NOT NULL DEFAULT 0;
ALTER TABLE statements ALTER COLUMN substituted DROP DEFAULT;

COMMENT ON COLUMN statements.substituted IS 'Readings after the start up to the end with values that stand for those that could not be measured.';
