"""What the bytes mean: profiles, topics, operations, replies, signing, frames. Pure."""
