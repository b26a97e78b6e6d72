"""Reads a file of OpenMetrics text with the parser of Prometheus, and prints its samples as JSON: parse.py FILE."""

import json
import sys

from prometheus_client.openmetrics.parser import text_fd_to_metric_families

samples = []
with open(sys.argv[1]) as text:
    for family in text_fd_to_metric_families(text):
        for sample in family.samples:
            samples.append([family.type, family.unit, sample.name, sample.labels, sample.value])
print(json.dumps(samples))
