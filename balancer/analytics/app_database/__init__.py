"""The app's own PostgreSQL as a source of reports. It is only ever read."""
