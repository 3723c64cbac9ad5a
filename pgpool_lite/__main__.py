"""`python -m pgpool_lite` is the command `pgpool-lite`."""

from pgpool_lite.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
