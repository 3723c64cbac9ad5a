"""Hours of what `tests/reliability` does for seconds: docs/reliability.md has its figures."""
