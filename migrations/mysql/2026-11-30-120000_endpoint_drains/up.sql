-- This statement can be repeated: see the first migration.
-- What operators keep new requests from, of servers that are not in `endpoints`: one row for a model of a server, `*`
-- for all of it. `lasting`: of a server that an agent has registered; the others end when all routers have.
CREATE TABLE IF NOT EXISTS endpoint_drains (
    name    VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    model   VARCHAR(600) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    lasting BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    PRIMARY KEY (name, model)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */;
