"""Reads paths from standard input, as reader.ts takes them, with parsedmarc, offline; answers one line of JSON as it does."""

import json
import logging
import resource
import sys
import time

import parsedmarc


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


logging.disable(logging.CRITICAL)
# 300,000 records take more than its 100 MB.
parsedmarc.MAX_DECOMPRESSED_REPORT_SIZE = 256 * 1024 * 1024


def read(path):
    return parsedmarc.parse_report_file(
        path,
        offline=True,
        always_use_local_files=True,
        # It would cut records of long intervals into days.
        normalize_timespan_threshold_hours=1e9,
    )["report"]


first, _, measured = sys.stdin.read().rstrip("\n").rpartition("\n\n")
for path in first.splitlines():
    read(path)
before, start = cpu(), time.perf_counter()
reports = records = messages = 0
for path in measured.splitlines():
    report = read(path)
    reports += 1
    records += len(report["records"])
    messages += sum(record["count"] for record in report["records"])
after = cpu()
print(
    json.dumps(
        {
            "reports": reports,
            "records": records,
            "messages": messages,
            "cpu": after,
            "cpuWork": after - before,
            "seconds": time.perf_counter() - start,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "stood": None,
        }
    )
)
