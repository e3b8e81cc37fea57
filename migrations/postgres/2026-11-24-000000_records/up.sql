-- How many requests are in each batch, and in those of a producer that are not listed any more: so that
-- what a router says it wrote down can be held against what is here. A version that does not know of
-- this writes nothing into it.
ALTER TABLE spend_batches ADD COLUMN records BIGINT NOT NULL DEFAULT 0;
ALTER TABLE spend_producers ADD COLUMN records BIGINT NOT NULL DEFAULT 0;
