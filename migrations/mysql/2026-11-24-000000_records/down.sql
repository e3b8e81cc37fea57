SET @change = IF(
    (SELECT count(*) FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'spend_producers' AND column_name = 'records') = 1,
    'ALTER TABLE spend_producers DROP COLUMN records, DROP COLUMN records_through',
    'DO 0');
PREPARE changing FROM @change;
EXECUTE changing;
DEALLOCATE PREPARE changing;

SET @change = IF(
    (SELECT count(*) FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'spend_batches' AND column_name = 'records') = 1,
    'ALTER TABLE spend_batches DROP COLUMN records',
    'DO 0');
PREPARE changing FROM @change;
EXECUTE changing;
DEALLOCATE PREPARE changing;
