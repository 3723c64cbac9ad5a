"""Tests of `pgpool_lite.session`: no I/O and no clock."""
