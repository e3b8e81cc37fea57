-- This statement can be repeated: see the first migration.
-- Servers that operators added while routers ran; those of configuration files are not here. `address` is
-- what tells servers apart: the same however the `url` is written. `settings` is JSON, and so is
-- `draining`: the models that take nothing new there, `*` for all of them. `api_key` is sent to the server
-- as it stands here: whoever reads this table can use that server.
CREATE TABLE IF NOT EXISTS endpoints (
    name       VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    url        VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    address    VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    kind       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    api_key    TEXT NOT NULL,
    settings   LONGTEXT NOT NULL,
    draining   LONGTEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    PRIMARY KEY (name),
    UNIQUE INDEX endpoints_address (address)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;
