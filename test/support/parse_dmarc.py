"""Reads paths from standard input, one a line, and writes parsedmarc's reading of each as a line of JSON. Offline."""

import json
import logging
import sys

import parsedmarc

logging.disable(logging.CRITICAL)
for line in sys.stdin:
    try:
        parsed = parsedmarc.parse_report_file(
            line.rstrip("\n"),
            offline=True,
            always_use_local_files=True,
            # It would cut records of long intervals into days.
            normalize_timespan_threshold_hours=1e9,
        )
        print(json.dumps({"type": parsed["report_type"], "report": parsed["report"]}))
    except Exception as error:
        print(json.dumps({"error": str(error)}))
