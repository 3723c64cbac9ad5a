"""Everything that can happen to few: all interleavings for three clients and two servers, and long
random ones for more.

    pytest tests/model -s                                  prints how many states were seen
    PGPOOL_LITE_TEST_DEPTH=9 pytest tests/model -s         all interleavings two events longer
    PGPOOL_LITE_TEST_EXAMPLES=5000 pytest tests/model      more and longer random ones
"""
