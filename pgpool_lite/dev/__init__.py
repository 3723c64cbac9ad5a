"""`pgpool-lite dev`: a throw-away PostgreSQL, two pooled ports on it, and the .env lines to paste.

binaries.py   where PostgreSQL's programs are
account.py    which user runs them, and a copy of them where that user cannot reach the originals
guard.py      what cleans up when this process cannot
cluster.py    one PostgreSQL server: initdb, start, stop
announce.py   the lines that are shown; pure text
command.py    the command itself
"""
