"""Tests of `bench`: what its numbers are made of."""
