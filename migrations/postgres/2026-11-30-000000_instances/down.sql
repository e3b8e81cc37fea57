DROP TABLE model_instances;
