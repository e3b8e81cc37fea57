-- Money is integer billionths of a US dollar. A sum stays below 2^62, and so does what is added to
-- it: their addition is always a number, and the one that is too large is refused by a rule that
-- every database reports alike, instead of failing here, wrapping there and turning into a rounded
-- one elsewhere.

-- What each entity spent since the beginning.
CREATE TABLE spend (
    kind           TEXT NOT NULL,
    entity         TEXT NOT NULL,
    spend_nano_usd BIGINT NOT NULL,
    input_tokens   BIGINT NOT NULL,
    output_tokens  BIGINT NOT NULL,
    requests       BIGINT NOT NULL,
    PRIMARY KEY (kind, entity),
    CONSTRAINT spend_spend_nano_usd_range CHECK (spend_nano_usd BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_input_tokens_range CHECK (input_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_output_tokens_range CHECK (output_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_requests_range CHECK (requests BETWEEN 0 AND 4611686018427387903)
) WITHOUT ROWID;

-- The same by budget period: Unix seconds at which the period began.
CREATE TABLE spend_periods (
    kind           TEXT NOT NULL,
    entity         TEXT NOT NULL,
    period_start   BIGINT NOT NULL,
    spend_nano_usd BIGINT NOT NULL,
    input_tokens   BIGINT NOT NULL,
    output_tokens  BIGINT NOT NULL,
    requests       BIGINT NOT NULL,
    PRIMARY KEY (kind, entity, period_start),
    CONSTRAINT spend_periods_spend_nano_usd_range CHECK (spend_nano_usd BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_periods_input_tokens_range CHECK (input_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_periods_output_tokens_range CHECK (output_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_periods_requests_range CHECK (requests BETWEEN 0 AND 4611686018427387903)
) WITHOUT ROWID;

-- The same by day (UTC, YYYY-MM-DD), key, model and endpoint.
CREATE TABLE daily_spend (
    kind            TEXT NOT NULL,
    entity          TEXT NOT NULL,
    date            TEXT NOT NULL,
    api_key         TEXT NOT NULL,
    model           TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    spend_nano_usd  BIGINT NOT NULL,
    input_tokens    BIGINT NOT NULL,
    output_tokens   BIGINT NOT NULL,
    requests        BIGINT NOT NULL,
    failed_requests BIGINT NOT NULL,
    PRIMARY KEY (kind, entity, date, api_key, model, endpoint),
    CONSTRAINT daily_spend_spend_nano_usd_range CHECK (spend_nano_usd BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_input_tokens_range CHECK (input_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_output_tokens_range CHECK (output_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_requests_range CHECK (requests BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_failed_requests_range CHECK (failed_requests BETWEEN 0 AND 4611686018427387903)
) WITHOUT ROWID;

CREATE INDEX daily_spend_date ON daily_spend (date);

-- Who may write as a leader: whoever stands here, or somebody with a greater epoch.
CREATE TABLE flush_leader (
    singleton BIGINT NOT NULL,
    epoch     BIGINT NOT NULL,
    leader    TEXT NOT NULL,
    PRIMARY KEY (singleton)
) WITHOUT ROWID;

INSERT INTO flush_leader (singleton, epoch, leader) VALUES (1, 0, '');

-- Every batch of a producer up to its high water has been applied, whether spend_batches still lists
-- it or not. A row is never removed: it is what recognises a batch that comes again after years.
CREATE TABLE spend_producers (
    producer   TEXT NOT NULL,
    high_water BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (producer)
) WITHOUT ROWID;

INSERT INTO spend_producers (producer, high_water, last_seen)
    SELECT producer, 0, max(applied_at) FROM spend_batches GROUP BY producer;

-- What no table would take, kept for an operator to see and to replay.
CREATE TABLE dead_letters (
    id          TEXT NOT NULL,
    producer    TEXT NOT NULL,
    seq         BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    payload     TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    replayed_at BIGINT,
    PRIMARY KEY (id)
) WITHOUT ROWID;
