ALTER TABLE spend_producers DROP COLUMN records_through;
ALTER TABLE spend_producers DROP COLUMN records;
ALTER TABLE spend_batches DROP COLUMN records;
