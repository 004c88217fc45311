-- Blocks and their undo data are written once and read rarely: compressing them took longer than all else about a
-- block. Transactions and trades are only ever written together with their block, in one database transaction, and
-- deleted with it: a foreign key would look the same block up again for every one of their rows. The audit checks it.

ALTER TABLE blocks ALTER COLUMN raw SET STORAGE EXTERNAL;
ALTER TABLE blocks ALTER COLUMN undo SET STORAGE EXTERNAL;
ALTER TABLE transactions DROP CONSTRAINT transactions_block_fkey;
ALTER TABLE trades DROP CONSTRAINT trades_block_fkey;
