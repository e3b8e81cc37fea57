DROP TABLE endpoint_drains;
