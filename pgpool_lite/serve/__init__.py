"""`pgpool-lite serve`: the pooler as a process, with PgBouncer's command line.

command.py      the life of the process, from its arguments to its end
├── arguments.py    what the command line says, as a configuration
├── identity.py     whose process it is: the user, the pidfile
├── background.py   -d: out of the terminal
├── takeover.py     -R: in the place of a process that runs
├── signals.py      what each signal does
├── crew.py         several processes as one: workers
└── systemd.py      what the service manager is told, and the sockets that it passes on
loop.py         which event loop
"""
