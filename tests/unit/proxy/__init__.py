"""Tests of `pgpool_lite.proxy` with fake transports."""
