-- The market as of node_state.tip_hash: what the chain's rules keep as state, and the history that explains it.
--
-- Everything here is written in the transaction that connects a block and follows from blocks.raw; the audit compares
-- every row with a replay. Energy in Wh, prices in millionths of the currency per Wh, amounts in millionths.

CREATE TABLE meters (
    member            text NOT NULL,
    meter             text NOT NULL,
    model             text NOT NULL,
    gateway           bytea NOT NULL CHECK (octet_length(gateway) = 32),
    channels          text[] NOT NULL,
    rated_w           integer[] NOT NULL,
    register_step_wh  integer NOT NULL CHECK (register_step_wh > 0),
    registered_ms     bigint NOT NULL,
    PRIMARY KEY (member, meter),
    CHECK (cardinality(channels) = cardinality(rated_w))
);

COMMENT ON COLUMN meters.gateway IS 'Key that may state energy for this meter.';
COMMENT ON COLUMN meters.rated_w IS 'Rated power of each channel, in the order of channels.';
COMMENT ON COLUMN meters.registered_ms IS 'Nothing that was metered before is minted.';

CREATE TABLE channel_registers (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    time_ms           bigint NOT NULL,
    register_wh       bigint NOT NULL CHECK (register_wh >= 0),
    statement         bytea NOT NULL CHECK (octet_length(statement) = 32),
    since_ms          bigint NOT NULL,
    minted_wh         bigint NOT NULL CHECK (minted_wh >= 0),
    PRIMARY KEY (member, meter, channel)
);

COMMENT ON TABLE channel_registers IS 'Where the last statement of each channel ended.';
COMMENT ON COLUMN channel_registers.since_ms IS 'Where the first statement of the channel started.';
COMMENT ON COLUMN channel_registers.minted_wh IS 'All that the channel has minted since.';

CREATE TABLE statements (
    id                bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    height            bigint NOT NULL CHECK (height > 0),
    position          integer NOT NULL CHECK (position >= 0),
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    start_ms          bigint NOT NULL,
    start_wh          bigint NOT NULL,
    end_ms            bigint NOT NULL,
    end_wh            bigint NOT NULL,
    measured          bigint NOT NULL,
    missing           bigint NOT NULL,
    reset             boolean NOT NULL,
    readings_root     bytea NOT NULL CHECK (octet_length(readings_root) = 32),
    CHECK (end_ms > start_ms AND end_wh >= start_wh)
);

COMMENT ON TABLE statements IS 'Metering statements of the best chain. The lot that one minted has its id.';
COMMENT ON COLUMN statements.position IS 'Place of the transaction in its block.';

CREATE INDEX statements_height ON statements (height);
CREATE INDEX statements_channel ON statements (member, meter, channel, end_ms);

CREATE TABLE lots (
    id                bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    owner             text NOT NULL,
    energy_wh         bigint NOT NULL CHECK (energy_wh > 0),
    parent            bytea NOT NULL CHECK (octet_length(parent) = 32),
    origin            bytea NOT NULL CHECK (octet_length(origin) = 32),
    offer             bytea CHECK (octet_length(offer) = 32),
    created_height    bigint NOT NULL CHECK (created_height > 0),
    spent_height      bigint CHECK (spent_height >= created_height),
    CHECK (spent_height IS NULL OR offer IS NULL)
);

COMMENT ON TABLE lots IS 'Every lot that the best chain ever made. Spent ones stay, so that each can be traced.';
COMMENT ON COLUMN lots.parent IS 'Lot from which it was split off, or the statement that minted it.';
COMMENT ON COLUMN lots.origin IS 'Statement at the root: meter, channel and time.';
COMMENT ON COLUMN lots.offer IS 'Open offer that holds it.';
COMMENT ON COLUMN lots.spent_height IS 'Block in which it was sold or split; NULL while it exists.';

CREATE INDEX lots_unspent ON lots (owner, id) WHERE spent_height IS NULL;
CREATE INDEX lots_created ON lots (created_height);

CREATE TABLE orders (
    id                bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    side              text NOT NULL CHECK (side IN ('offer', 'bid')),
    member            text NOT NULL,
    price_micro       bigint NOT NULL CHECK (price_micro >= 0),
    energy_wh         bigint NOT NULL CHECK (energy_wh > 0),
    smallest_wh       bigint NOT NULL,
    valid_until_ms    bigint NOT NULL,
    height            bigint NOT NULL,
    index             bigint NOT NULL,
    buyer             text,
    lots              bytea[] NOT NULL,
    waiting           boolean NOT NULL,
    events            bigint NOT NULL
);

COMMENT ON TABLE orders IS 'The open order book.';
COMMENT ON COLUMN orders.energy_wh IS 'What is still open.';
COMMENT ON COLUMN orders.index IS 'Which order of its block it was.';
COMMENT ON COLUMN orders.buyer IS 'Only this member may buy; NULL for everybody.';
COMMENT ON COLUMN orders.lots IS 'Lots of an offer that are not used up, in the order in which they are sold.';
COMMENT ON COLUMN orders.waiting IS 'Its matching was cut short and goes on in the next block.';
COMMENT ON COLUMN orders.events IS 'How many lots the offer has derived so far.';

CREATE TABLE trades (
    height            bigint NOT NULL CHECK (height > 0),
    position          integer NOT NULL CHECK (position >= 0),
    block             bytea NOT NULL REFERENCES blocks (hash),
    offer             bytea NOT NULL,
    bid               bytea NOT NULL,
    seller            text NOT NULL,
    buyer             text NOT NULL,
    energy_wh         bigint NOT NULL CHECK (energy_wh > 0),
    price_micro       bigint NOT NULL CHECK (price_micro >= 0),
    amount_micro      bigint NOT NULL,
    lots              bytea[] NOT NULL,
    PRIMARY KEY (height, position),
    CHECK (amount_micro = energy_wh * price_micro)
);

COMMENT ON TABLE trades IS 'Fills on the best chain.';
COMMENT ON COLUMN trades.position IS 'Number of the fill within its block, from 0.';
COMMENT ON COLUMN trades.lots IS 'Lots that the buyer received.';

CREATE TABLE obligations (
    debtor            text NOT NULL,
    creditor          text NOT NULL,
    amount_micro      bigint NOT NULL CHECK (amount_micro >= 0),
    energy_wh         bigint NOT NULL CHECK (energy_wh >= 0),
    PRIMARY KEY (debtor, creditor)
);

COMMENT ON TABLE obligations IS 'What members owe each other in all, before payments.';
