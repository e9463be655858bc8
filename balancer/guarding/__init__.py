"""Guards at work: routes get them here, and requests wait here for what cannot be said at once."""
