"""Prints "<passed> <failed>" of a test report, gtest JSON or JUnit XML; skipped tests are neither.

usage: count_tests.py REPORT EXIT_STATUS
"""

import json
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def count(report: Path) -> tuple[int, int]:
    """(passed, failed) of a report; a report that is missing or cut short is one failure."""
    try:
        if report.suffix == ".json":
            root = json.loads(report.read_text())
            cases = [case for suite in root["testsuites"] for case in suite["testsuite"]]
            failed = sum("failures" in case for case in cases)
            skipped = sum(case["result"] == "SKIPPED" for case in cases)
            ran = sum(case["status"] == "RUN" for case in cases)
            return ran - failed - skipped, failed
        suites = list(xml.parse(report).getroot().iter("testsuite"))
        total, failed, skipped = (
            sum(int(suite.get(key, 0)) for suite in suites for key in keys)
            for keys in (("tests",), ("failures", "errors"), ("skipped",))
        )
        return total - failed - skipped, failed
    except (OSError, ValueError, KeyError, xml.ParseError):
        return 0, 1


if __name__ == "__main__":
    passed, failed = count(Path(sys.argv[1]))
    if int(sys.argv[2]) != 0 and failed == 0:
        failed = 1
    print(passed, failed)
