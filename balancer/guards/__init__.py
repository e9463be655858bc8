"""What may keep a request from a route: pure rules, compiled when a configuration comes into force."""
