"""Tests of `pgpool_lite.dev` that start no PostgreSQL."""
