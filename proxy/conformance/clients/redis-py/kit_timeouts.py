"""A pytest plugin: a test that hangs fails, and the others go on.

Some of redis-py's tests ask for a limit that ends the whole process when it is passed, and with it the report. On a busy
machine their five seconds pass now and then, direct too. Every test gets this limit instead, which only that test feels.
"""

import pytest

LIMIT_SECONDS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # In front of the test's own mark, so that it is the one that counts.
        item.add_marker(pytest.mark.timeout(LIMIT_SECONDS, method="signal"), append=False)
