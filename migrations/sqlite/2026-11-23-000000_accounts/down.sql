DROP TABLE access_version;
DROP TABLE prices;
DROP TABLE accounts;
