-- What operators keep new requests from, of servers that are not in `endpoints`: one row for a model of a server, `*`
-- for all of it. `lasting`: of a server that an agent has registered; the others end when all routers have.
CREATE TABLE endpoint_drains (
    name    TEXT   NOT NULL,
    model   TEXT   NOT NULL,
    lasting BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    PRIMARY KEY (name, model)
) WITHOUT ROWID;
