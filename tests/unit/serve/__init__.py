"""Tests of `pgpool_lite.serve`."""
