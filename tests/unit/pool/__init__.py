"""Tests of `pgpool_lite.pool` with a fake clock: a number."""
