"""Tests of pgpool_lite; a package, so that they can share helpers."""
