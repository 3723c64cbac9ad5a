"""Tests of `pgpool_lite.wire`."""
