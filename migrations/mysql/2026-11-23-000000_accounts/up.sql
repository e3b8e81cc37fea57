-- Each statement can be repeated: see the first migration.
-- Whoever can be let in, limited or charged; a row of kind `budget` is a plan that others name. Money
-- is integer billionths of a US dollar, moments are Unix seconds, NULL is without limit. The id of a
-- key is the SHA-256 of it. The rest of what is said of an account is JSON: in `rules` its other limits
-- and the models it may use, in `metadata` the operator's own words.
CREATE TABLE IF NOT EXISTS accounts (
    kind           VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    id             VARCHAR(255) NOT NULL,
    name           TEXT NOT NULL,
    user_id        VARCHAR(255) NOT NULL,
    team_id        VARCHAR(255) NOT NULL,
    org_id         VARCHAR(255) NOT NULL,
    budget_id      VARCHAR(255) NOT NULL,
    limit_nano_usd BIGINT,
    period         VARCHAR(32) NOT NULL,
    rules          LONGTEXT NOT NULL,
    metadata       LONGTEXT NOT NULL,
    blocked        BIGINT NOT NULL,
    expires_at     BIGINT,
    created_at     BIGINT NOT NULL,
    deleted_at     BIGINT,
    version        BIGINT NOT NULL,
    PRIMARY KEY (kind, id),
    INDEX accounts_version (version)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- What operators set while routers run, in nano-USD per million tokens.
CREATE TABLE IF NOT EXISTS prices (
    model                 VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    input_nano_usd        BIGINT NOT NULL,
    cached_input_nano_usd BIGINT NOT NULL,
    output_nano_usd       BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    deleted_at            BIGINT,
    version               BIGINT NOT NULL,
    PRIMARY KEY (model)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

-- The number of the last change to the tables above.
CREATE TABLE IF NOT EXISTS access_version (
    singleton BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    PRIMARY KEY (singleton)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;

INSERT IGNORE INTO access_version (singleton, version) VALUES (1, 0);
