"""What an operator runs beside the pooler: nothing here serves a client.

check.py     `pgpool-lite check FILE`: is this file right, and what would run?
└── findings.py   everything there is to say about a file, line by line
show.py      `pgpool-lite show POOLS`: a table of a running pooler's console
└── console_client.py   the console from the outside
doctor.py    `pgpool-lite doctor URL`: what a client meets on its way to a transaction
├── doctor_examination.py   what is done to find out
├── doctor_evidence.py      what was seen
├── doctor_diagnosis.py     what it means
├── doctor_blame.py         whose limit an error tells of
└── doctor_drivers.py       which lines of configuration fit
dialogue.py  one blocking connection, for all that talk
"""
