"""Tests of `pgpool_lite.config`."""
