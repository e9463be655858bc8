"""The admin API's own document against the running process, by schemathesis."""
