import time

import pytest


@pytest.fixture
def seconds():
    """How long a call takes, in seconds of this process: other work on the machine does not count."""

    def measure(call):
        begin = time.process_time()
        call()
        return time.process_time() - begin

    return measure
