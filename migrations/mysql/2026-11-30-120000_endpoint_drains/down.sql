DROP TABLE IF EXISTS endpoint_drains;
