"""Tests that open no socket, start no process of ours and wait for nothing."""
