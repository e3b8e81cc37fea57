DROP TABLE dead_letters;
DROP TABLE spend_producers;
DROP TABLE flush_leader;
DROP TABLE daily_spend;
DROP TABLE spend_periods;
DROP TABLE spend;
