"""One client, one server: what each is owed and may do next. No I/O and no clock."""
