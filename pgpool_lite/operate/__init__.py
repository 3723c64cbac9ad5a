"""What an operator runs beside the pooler: nothing here serves a client.

check.py     `pgpool-lite check FILE`: is this file right, and what would run?
└── findings.py   everything there is to say about a file, line by line
show.py      `pgpool-lite show POOLS`: a table of a running pooler's console
└── console_client.py   the console from the outside
"""
