"""The bytes of a proxied request: both sides' connections, the exchange between them, and their deadlines."""
