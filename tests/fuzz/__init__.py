"""Any bytes at every door: what is fed where, the inputs that are kept, and what runs them.

    pytest tests/fuzz                              every input that is kept, and some seconds of
                                                   what can be made of them
    PGPOOL_LITE_TEST_EXAMPLES=100000 pytest tests/fuzz
                                                   the same, for longer
    python -m tests.fuzz relay 3600                an hour at one door (`python -m tests.fuzz` lists
                                                   them), guided by which lines are reached; keeps
                                                   what reaches new ones. `pip install atheris`
                                                   first: no part of the project needs it

Two properties hold at every door: nothing but the errors of `pgpool_lite.errors` comes out, each by
the right blame, and what is kept of a connection is bounded by constants. A crash is made smaller
by hand, and becomes a test with a name where the module's other tests are.
"""
