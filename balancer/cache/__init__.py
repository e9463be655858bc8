"""What may be stored, for how long, and what it may answer: RFC 9111 for a shared cache, and the store in memory."""
