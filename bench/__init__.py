"""What does the relay cost, and what does pooling save? Two programs that measure it.

`python -m bench` compares pgpool_lite with PgBouncer and direct PostgreSQL under pgbench.
`python -m bench.storm` lets a burst of short-lived clients loose on PostgreSQL, with and without a
pool. Nothing in the package imports this one; README.md says how to read what they print.
"""
