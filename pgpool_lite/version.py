"""The one place that holds the version: the build, `--version` and SHOW VERSION read it."""

__version__ = "0.1.0"
