"""Nothing lost, nobody let in: tests that try to break the pooler, and print how often."""
