DROP TABLE IF EXISTS dead_letters;
DROP TABLE IF EXISTS spend_producers;
DROP TABLE IF EXISTS flush_leader;
DROP TABLE IF EXISTS daily_spend;
DROP TABLE IF EXISTS spend_periods;
DROP TABLE IF EXISTS spend;
