-- Each statement can be repeated: see the migration before.
-- Money is integer billionths of a US dollar. A sum stays below 2^62, and so does what is added to
-- it: their addition is always a number, and the one that is too large is refused by a rule that
-- every database reports alike, instead of failing here, wrapping there and turning into a rounded
-- one elsewhere.

-- What each entity spent since the beginning.
CREATE TABLE IF NOT EXISTS spend (
    kind           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity         VARCHAR(255) NOT NULL,
    spend_nano_usd BIGINT NOT NULL,
    input_tokens   BIGINT NOT NULL,
    output_tokens  BIGINT NOT NULL,
    requests       BIGINT NOT NULL,
    PRIMARY KEY (kind, entity),
    CONSTRAINT spend_spend_nano_usd_range CHECK (spend_nano_usd BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_input_tokens_range CHECK (input_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_output_tokens_range CHECK (output_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT spend_requests_range CHECK (requests BETWEEN 0 AND 4611686018427387903)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- The same by budget period: Unix seconds at which the period began.
CREATE TABLE IF NOT EXISTS spend_periods (
    kind           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity         VARCHAR(255) NOT NULL,
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
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- The same by day (UTC, YYYY-MM-DD), key, model and endpoint.
CREATE TABLE IF NOT EXISTS daily_spend (
    kind            VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    entity          VARCHAR(255) NOT NULL,
    date            CHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    api_key         VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    model           VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    endpoint        VARCHAR(128) NOT NULL,
    spend_nano_usd  BIGINT NOT NULL,
    input_tokens    BIGINT NOT NULL,
    output_tokens   BIGINT NOT NULL,
    requests        BIGINT NOT NULL,
    failed_requests BIGINT NOT NULL,
    PRIMARY KEY (kind, entity, date, api_key, model, endpoint),
    INDEX daily_spend_date (date),
    CONSTRAINT daily_spend_spend_nano_usd_range CHECK (spend_nano_usd BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_input_tokens_range CHECK (input_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_output_tokens_range CHECK (output_tokens BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_requests_range CHECK (requests BETWEEN 0 AND 4611686018427387903),
    CONSTRAINT daily_spend_failed_requests_range CHECK (failed_requests BETWEEN 0 AND 4611686018427387903)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- Who may write as a leader: whoever stands here, or somebody with a greater epoch.
CREATE TABLE IF NOT EXISTS flush_leader (
    singleton BIGINT NOT NULL,
    epoch     BIGINT NOT NULL,
    leader    VARCHAR(255) NOT NULL,
    PRIMARY KEY (singleton)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

INSERT IGNORE INTO flush_leader (singleton, epoch, leader) VALUES (1, 0, '');

-- Every batch of a producer up to its high water has been applied, whether spend_batches still lists
-- it or not. A row is never removed: it is what recognises a batch that comes again after years.
CREATE TABLE IF NOT EXISTS spend_producers (
    producer   CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    high_water BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (producer)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

INSERT IGNORE INTO spend_producers (producer, high_water, last_seen)
    SELECT producer, 0, max(applied_at) FROM spend_batches GROUP BY producer;

-- What no table would take, kept for an operator to see and to replay.
CREATE TABLE IF NOT EXISTS dead_letters (
    id          CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    producer    CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seq         BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    payload     LONGTEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    replayed_at BIGINT,
    PRIMARY KEY (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;
