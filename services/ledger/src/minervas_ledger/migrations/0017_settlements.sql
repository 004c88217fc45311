-- Payments and credit notes: the state's sums by bill, and the transactions that they come from.

CREATE TABLE settlements (
    debtor            text NOT NULL,
    creditor          text NOT NULL,
    month             text NOT NULL CHECK (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$'),
    paid_micro        bigint NOT NULL CHECK (paid_micro >= 0),
    credited_micro    bigint NOT NULL CHECK (credited_micro >= 0),
    PRIMARY KEY (debtor, creditor, month)
);

COMMENT ON TABLE settlements IS 'What was paid of each bill and taken off it, as of node_state.tip_hash.';

CREATE TABLE payments (
    height            bigint NOT NULL CHECK (height > 0),
    position          integer NOT NULL CHECK (position >= 0),
    id                bytea NOT NULL CHECK (octet_length(id) = 32),
    seller            text NOT NULL,
    buyer             text NOT NULL,
    month             text NOT NULL,
    amount_micro      bigint NOT NULL CHECK (amount_micro > 0),
    reason            text CHECK (reason IN ('agreement', 'meter_error', 'price_error', 'other')),
    PRIMARY KEY (height, position)
);

COMMENT ON TABLE payments IS 'Payments and credit notes on the best chain.';
COMMENT ON COLUMN payments.position IS 'Place of the transaction in its block.';
COMMENT ON COLUMN payments.reason IS 'Of a credit note; NULL for a payment.';

CREATE INDEX payments_seller ON payments (seller, height, position);
CREATE INDEX payments_buyer ON payments (buyer, height, position);

CREATE INDEX trades_pair ON trades (seller, buyer, height);
CREATE INDEX trades_buyer ON trades (buyer, height);
