"""Turns a JUnit report into results: `pass|fail|skip<TAB>class: test`.

python3 junit.py REPORT.XML
"""

import sys
import xml.etree.ElementTree

for test in xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase"):
    kinds = {child.tag for child in test}
    verdict = "fail" if kinds & {"failure", "error"} else "skip" if "skipped" in kinds else "pass"
    # Names may hold the data that a test is given.
    name = f"{test.get('classname') or test.get('class')}: {test.get('name')}"
    print(verdict, name.encode("unicode_escape").decode(), sep="\t")
