-- This statement can be repeated: see the first migration.
-- Who is there: servers' agents, workers of another kind of cluster, and routers. A row is a lease: it holds
-- until `lease_until`, and whether it does is computed when it is read. All times are milliseconds since 1970 by
-- the clock of this database, which alone writes and compares them. `run` is who holds the lease, `incarnation`
-- grows whenever another does; a row that is `stopped` is not renewed any more. `facts` is JSON.
CREATE TABLE IF NOT EXISTS model_instances (
    kind          VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name          VARCHAR(128) NOT NULL,
    host          VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    port          BIGINT NOT NULL,
    url           VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    run           VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    incarnation   BIGINT NOT NULL,
    stopped       BIGINT NOT NULL,
    registered_at BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    lease_until   BIGINT NOT NULL,
    facts         LONGTEXT NOT NULL,
    PRIMARY KEY (kind, name, host, port)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;
