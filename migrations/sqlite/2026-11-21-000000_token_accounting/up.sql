-- Tokens per endpoint and model since the beginning.
CREATE TABLE token_counts (
    endpoint      TEXT   NOT NULL,
    model         TEXT   NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens  BIGINT NOT NULL,
    PRIMARY KEY (endpoint, model)
) WITHOUT ROWID;

-- The same tokens by the minute: Unix seconds at the full minute.
CREATE TABLE token_time_series (
    endpoint      TEXT   NOT NULL,
    model         TEXT   NOT NULL,
    timestamp     BIGINT NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens  BIGINT NOT NULL,
    PRIMARY KEY (endpoint, model, timestamp)
) WITHOUT ROWID;

CREATE INDEX token_time_series_timestamp ON token_time_series (timestamp);
CREATE INDEX token_time_series_model_timestamp ON token_time_series (model, timestamp);

-- What has been applied to the tables above: a batch whose row is here is never added again.
CREATE TABLE spend_batches (
    producer   TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (producer, seq)
) WITHOUT ROWID;
