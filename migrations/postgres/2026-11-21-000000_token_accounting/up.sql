-- Names are compared byte by byte: as every other database does, and faster than by any language's
-- rules. Rows that change every second leave room in their pages for the next version of themselves.

-- Tokens per endpoint and model since the beginning.
CREATE TABLE token_counts (
    endpoint      TEXT COLLATE "C" NOT NULL,
    model         TEXT COLLATE "C" NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens  BIGINT NOT NULL,
    PRIMARY KEY (endpoint, model)
) WITH (fillfactor = 50);

-- The same tokens by the minute: Unix seconds at the full minute.
CREATE TABLE token_time_series (
    endpoint      TEXT COLLATE "C" NOT NULL,
    model         TEXT COLLATE "C" NOT NULL,
    timestamp     BIGINT NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens  BIGINT NOT NULL,
    PRIMARY KEY (endpoint, model, timestamp)
) WITH (fillfactor = 90);

CREATE INDEX token_time_series_timestamp ON token_time_series (timestamp);
CREATE INDEX token_time_series_model_timestamp ON token_time_series (model, timestamp);

-- What has been applied to the tables above: a batch whose row is here is never added again.
CREATE TABLE spend_batches (
    producer   TEXT COLLATE "C" NOT NULL,
    seq        BIGINT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (producer, seq)
);
