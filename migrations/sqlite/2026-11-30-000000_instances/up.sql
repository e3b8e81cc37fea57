-- Who is there: servers' agents, workers of another kind of cluster, and routers. A row is a lease: it holds
-- until `lease_until`, and whether it does is computed when it is read. All times are milliseconds since 1970 by
-- the clock of this database, which alone writes and compares them. `run` is who holds the lease, `incarnation`
-- grows whenever another does; a row that is `stopped` is not renewed any more. `facts` is JSON.
CREATE TABLE model_instances (
    kind          TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    host          TEXT   NOT NULL,
    port          BIGINT NOT NULL,
    url           TEXT   NOT NULL,
    run           TEXT   NOT NULL,
    incarnation   BIGINT NOT NULL,
    stopped       BIGINT NOT NULL,
    registered_at BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    lease_until   BIGINT NOT NULL,
    facts         TEXT   NOT NULL,
    PRIMARY KEY (kind, name, host, port)
) WITHOUT ROWID;
