-- What panels would give under a clear sky, as a job computes it: beside the roll-ups, to compare with.

CREATE TABLE expected_output (
    member            text NOT NULL,
    meter             text NOT NULL,
    channel           text NOT NULL,
    time_ms           bigint NOT NULL,
    step_ms           bigint NOT NULL CHECK (step_ms > 0),
    power_mw          bigint NOT NULL CHECK (power_mw >= 0),
    rated_w           bigint NOT NULL,
    model             text NOT NULL,
    made_ms           bigint NOT NULL,
    PRIMARY KEY (member, meter, channel, time_ms)
);

COMMENT ON TABLE expected_output IS 'A model''s expectation, never a measurement; nothing on the chain rests on it.';
COMMENT ON COLUMN expected_output.power_mw IS 'Mean power from time_ms on for step_ms.';
COMMENT ON COLUMN expected_output.made_ms IS 'When it was computed; the newest stays.';
