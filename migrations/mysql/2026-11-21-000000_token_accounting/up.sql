-- MySQL commits at every CREATE. A migration that was interrupted is run again from its beginning,
-- so each statement can be repeated.
--
-- Names are compared byte by byte, trailing spaces included; MySQL and MariaDB have different words
-- for it, and each reads only its own. Models are ASCII by their own rules, so that the longest of
-- them fits into a key beside the others.

-- Tokens per endpoint and model since the beginning.
CREATE TABLE IF NOT EXISTS token_counts (
    endpoint      VARCHAR(128) NOT NULL,
    model         VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens  BIGINT NOT NULL,
    PRIMARY KEY (endpoint, model)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- The same tokens by the minute: Unix seconds at the full minute.
CREATE TABLE IF NOT EXISTS token_time_series (
    endpoint      VARCHAR(128) NOT NULL,
    model         VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    timestamp     BIGINT NOT NULL,
    input_tokens  BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    total_tokens  BIGINT NOT NULL,
    PRIMARY KEY (endpoint, model, timestamp),
    INDEX token_time_series_timestamp (timestamp),
    INDEX token_time_series_model_timestamp (model, timestamp)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- What has been applied to the tables above: a batch whose row is here is never added again.
CREATE TABLE IF NOT EXISTS spend_batches (
    producer   CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    seq        BIGINT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (producer, seq)
) ENGINE = InnoDB;
