"""Threads and sockets: connector, transport, stream, supervisor, heartbeat, clock."""
