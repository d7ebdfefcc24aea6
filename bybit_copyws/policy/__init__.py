"""What should happen: session, registry, acks, backoff, budget. Pure; callers pass the time."""
