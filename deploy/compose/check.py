"""Checks a compose file against the schema of its specification: check.py SCHEMA FILE"""

import json
import sys

import jsonschema
import yaml

schema, file = sys.argv[1:]
with open(schema) as text:
    validator = jsonschema.Draft7Validator(json.load(text))
with open(file) as text:
    wrong = list(validator.iter_errors(yaml.safe_load(text)))
for problem in wrong:
    print(f"{file}: {'.'.join(map(str, problem.path))}: {problem.message}", file=sys.stderr)
sys.exit(bool(wrong))
