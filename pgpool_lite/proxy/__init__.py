"""The only floor that touches sockets, timers and the event loop."""
