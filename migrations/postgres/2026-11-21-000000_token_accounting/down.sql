DROP TABLE spend_batches;
DROP TABLE token_time_series;
DROP TABLE token_counts;
