#!/usr/bin/env python3
"""Turns a JUnit report into the kit's results: `pass|fail|skip`, a tab, the test's name; one line a test, sorted.

A test that is reported twice, as pytest does when both it and its clean-up fail, counts with its worst outcome. What
differs from run to run in a name (an address in memory) is taken out.

Usage: junit_results.py REPORT.xml >RESULTS
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

WORST_FIRST = ["fail", "skip", "pass"]


def outcome(case: ElementTree.Element) -> str:
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "fail"
    return "skip" if "skipped" in kinds else "pass"


def name(case: ElementTree.Element) -> str:
    full = f"{case.get('classname')}::{case.get('name')}"
    return re.sub(r"0x[0-9a-f]{6,}", "0x", re.sub(r"\s+", " ", full))


def main() -> None:
    results: dict[str, str] = {}
    for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
        here, before = outcome(case), results.get(name(case), "pass")
        results[name(case)] = min(here, before, key=WORST_FIRST.index)
    sys.stdout.writelines(sorted(f"{result}\t{test}\n" for test, result in results.items()))


if __name__ == "__main__":
    main()
