"""How the site and its community are doing: events of the traffic, where they are kept, and the reports on them."""
