"""The PostgreSQL wire protocol as bytes: scanning, decoding, encoding. No sockets, no state."""
