-- How many requests are in each batch, and in those of a producer up to a number, which are not listed any
-- more: so that what a router says it wrote down can be held against what is here. NULL where nobody
-- knows: a version that does not know of this writes nothing into it.
ALTER TABLE spend_batches ADD COLUMN records BIGINT;
ALTER TABLE spend_producers ADD COLUMN records BIGINT;
ALTER TABLE spend_producers ADD COLUMN records_through BIGINT;
