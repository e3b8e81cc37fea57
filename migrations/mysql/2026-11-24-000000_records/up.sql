-- How many requests are in each batch, and in those of a producer up to a number, which are not listed any
-- more: so that what a router says it wrote down can be held against what is here. NULL where nobody
-- knows: a version that does not know of this writes nothing into it.
-- Each change is made unless it has been: this may be run again.
SET @change = IF(
    (SELECT count(*) FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'spend_batches' AND column_name = 'records') = 0,
    'ALTER TABLE spend_batches ADD COLUMN records BIGINT',
    'DO 0');
PREPARE changing FROM @change;
EXECUTE changing;
DEALLOCATE PREPARE changing;

SET @change = IF(
    (SELECT count(*) FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'spend_producers' AND column_name = 'records') = 0,
    'ALTER TABLE spend_producers ADD COLUMN records BIGINT, ADD COLUMN records_through BIGINT',
    'DO 0');
PREPARE changing FROM @change;
EXECUTE changing;
DEALLOCATE PREPARE changing;
