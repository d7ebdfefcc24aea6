"""What the data adds up to. Pure: no thread, socket or clock."""
