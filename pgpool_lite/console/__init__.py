"""The admin console: database `pgbouncer`, answered by this process. No sockets and no event loop.

session.py    one console client's messages, simple and extended protocol
├── messages.py   the frontend messages that only the console decodes
└── commands.py   what a command does and who may give it
    ├── grammar.py    PgBouncer's three forms of a command
    ├── controls.py   what commands ask of the runtime
    ├── answers.py    what can come of a command
    └── show.py       every SHOW table, with show_stats.py
        ├── fields.py     what a table is made of
        ├── tables.py     the typed rows of most, also for the Python API; inventory.py the rest
        ├── clients.py    who is on the console
        └── values.py     column types, text and binary
"""
