DROP TABLE IF EXISTS spend_batches;
DROP TABLE IF EXISTS token_time_series;
DROP TABLE IF EXISTS token_counts;
