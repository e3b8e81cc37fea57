-- Whoever can be let in, limited or charged; a row of kind `budget` is a plan that others name. Money
-- is integer billionths of a US dollar, moments are Unix seconds, NULL is without limit. The id of a
-- key is the SHA-256 of it. The rest of what is said of an account is JSON: in `rules` its other limits
-- and the models it may use, in `metadata` the operator's own words.
CREATE TABLE accounts (
    kind           TEXT COLLATE "C" NOT NULL,
    id             TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    user_id        TEXT COLLATE "C" NOT NULL,
    team_id        TEXT COLLATE "C" NOT NULL,
    org_id         TEXT COLLATE "C" NOT NULL,
    budget_id      TEXT COLLATE "C" NOT NULL,
    limit_nano_usd BIGINT,
    period         TEXT COLLATE "C" NOT NULL,
    rules          TEXT COLLATE "C" NOT NULL,
    metadata       TEXT COLLATE "C" NOT NULL,
    blocked        BIGINT NOT NULL,
    expires_at     BIGINT,
    created_at     BIGINT NOT NULL,
    deleted_at     BIGINT,
    version        BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX accounts_version ON accounts (version);

-- What operators set while routers run, in nano-USD per million tokens.
CREATE TABLE prices (
    model                 TEXT COLLATE "C" NOT NULL,
    input_nano_usd        BIGINT NOT NULL,
    cached_input_nano_usd BIGINT NOT NULL,
    output_nano_usd       BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    deleted_at            BIGINT,
    version               BIGINT NOT NULL,
    PRIMARY KEY (model)
);

-- The number of the last change to the tables above.
CREATE TABLE access_version (
    singleton BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    PRIMARY KEY (singleton)
);

INSERT INTO access_version (singleton, version) VALUES (1, 0);
