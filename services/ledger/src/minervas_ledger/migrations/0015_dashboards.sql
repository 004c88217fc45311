-- Dashboards ask for blocks by time: of the chain, and beside it. An index of a few bytes a block is what that costs.

CREATE INDEX blocks_best_time ON blocks (time_ms) INCLUDE (height) WHERE best_chain;
CREATE INDEX blocks_beside_time ON blocks (time_ms) WHERE NOT best_chain;
