"""The admin console, without sockets."""
