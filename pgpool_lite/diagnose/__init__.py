"""What breaks in transaction mode, recognised from statement texts. Pure: no I/O, no clock."""
