"""What is told of PostgreSQL and Redis: watched in the background, and only read."""
