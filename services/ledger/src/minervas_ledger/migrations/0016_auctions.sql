-- Auctions: the slot that goes on, fills that wait for the next block, what each auction decided; bids that repeat.

ALTER TABLE orders
    ADD COLUMN repeat_wh bigint NOT NULL DEFAULT 0 CHECK (repeat_wh >= 0),
    DROP CONSTRAINT orders_energy_wh_check,
    ADD CONSTRAINT orders_energy_wh_check CHECK (energy_wh > 0 OR (energy_wh = 0 AND repeat_wh > 0));

ALTER TABLE orders ALTER COLUMN repeat_wh DROP DEFAULT;

COMMENT ON COLUMN orders.energy_wh IS 'What is still open; 0 for a repeating bid that has all that it wanted of this slot.';
COMMENT ON COLUMN orders.repeat_wh IS 'Energy that a repeating bid wants of each slot; 0 for any other order.';

CREATE TABLE slots (
    id                text PRIMARY KEY CHECK (id = 'current'),
    mode              text NOT NULL CHECK (mode IN ('auction', 'continuous')),
    ends_ms           bigint NOT NULL,
    cleared           boolean NOT NULL
);

COMMENT ON TABLE slots IS 'The market slot that goes on; no row in the first one, which genesis tells of.';
COMMENT ON COLUMN slots.mode IS 'How orders are matched until its end.';
COMMENT ON COLUMN slots.ends_ms IS 'First moment after it.';
COMMENT ON COLUMN slots.cleared IS 'Its auction is decided, but not all of its fills are carried out.';

CREATE TABLE pending_fills (
    number            text PRIMARY KEY,
    offer             bytea NOT NULL CHECK (octet_length(offer) = 32),
    bid               bytea NOT NULL CHECK (octet_length(bid) = 32),
    energy_wh         bigint NOT NULL CHECK (energy_wh > 0),
    price_micro       bigint NOT NULL CHECK (price_micro >= 0)
);

COMMENT ON TABLE pending_fills IS 'Fills that an auction decided and that the next blocks carry out.';
COMMENT ON COLUMN pending_fills.number IS 'Number of the fill in its auction, from 0, in 8 digits.';

CREATE TABLE clearings (
    height            bigint PRIMARY KEY CHECK (height > 0),
    slot_ends_ms      bigint NOT NULL,
    price_micro       bigint CHECK (price_micro >= 0),
    lowest_micro      bigint CHECK (lowest_micro >= 0),
    highest_micro     bigint CHECK (highest_micro >= lowest_micro),
    energy_wh         bigint NOT NULL CHECK (energy_wh >= 0),
    offers            bigint NOT NULL,
    bids              bigint NOT NULL,
    offered_wh        bigint NOT NULL,
    wanted_wh         bigint NOT NULL,
    deals             bigint NOT NULL,
    deals_wh          bigint NOT NULL,
    CHECK ((price_micro IS NULL) = (energy_wh = 0)),
    CHECK ((price_micro IS NULL) = (lowest_micro IS NULL) AND (price_micro IS NULL) = (highest_micro IS NULL))
);

COMMENT ON TABLE clearings IS 'What the auction of each slot decided, on the best chain.';
COMMENT ON COLUMN clearings.height IS 'Block that decided it and carried out its first fills.';
COMMENT ON COLUMN clearings.slot_ends_ms IS 'First moment after the slot.';
COMMENT ON COLUMN clearings.price_micro IS 'The one price of its fills; NULL if no offer met a bid.';
COMMENT ON COLUMN clearings.lowest_micro IS 'The least price that would have done, too.';
COMMENT ON COLUMN clearings.highest_micro IS 'The highest such price.';
COMMENT ON COLUMN clearings.energy_wh IS 'Energy sold at that price.';
COMMENT ON COLUMN clearings.offers IS 'Offers that sold.';
COMMENT ON COLUMN clearings.bids IS 'Bids that bought.';
COMMENT ON COLUMN clearings.offered_wh IS 'Energy of all offers that took part.';
COMMENT ON COLUMN clearings.wanted_wh IS 'Energy of all bids that took part.';
COMMENT ON COLUMN clearings.deals IS 'Fills of personal deals, which are no part of the auction.';
COMMENT ON COLUMN clearings.deals_wh IS 'Their energy.';
