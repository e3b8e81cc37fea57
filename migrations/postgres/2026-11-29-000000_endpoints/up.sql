-- Servers that operators added while routers ran; those of configuration files are not here. `address` is
-- what tells servers apart: the same however the `url` is written. `settings` is JSON, and so is
-- `draining`: the models that take nothing new there, `*` for all of them. `api_key` is sent to the server
-- as it stands here: whoever reads this table can use that server.
CREATE TABLE endpoints (
    name       TEXT COLLATE "C" NOT NULL,
    url        TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL UNIQUE,
    kind       TEXT COLLATE "C" NOT NULL,
    api_key    TEXT COLLATE "C" NOT NULL,
    settings   TEXT COLLATE "C" NOT NULL,
    draining   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    PRIMARY KEY (name)
);
