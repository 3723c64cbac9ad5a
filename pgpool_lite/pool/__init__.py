"""Who is linked to whom. Pure: time comes in as an argument, decisions go out as values."""
