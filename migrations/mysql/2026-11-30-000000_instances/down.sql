DROP TABLE IF EXISTS model_instances;
