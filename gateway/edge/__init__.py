"""Everything that awaits: sockets, timers, the operator port."""
