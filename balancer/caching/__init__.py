"""Where requests of cached routes are answered: from memory, from Redis, with others who wait, or by a server."""
