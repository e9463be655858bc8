"""Events in a file of SQLite: as they came for a while, and summed up for as long as reports look back."""
