"""Events in a PostgreSQL of their own, where one machine's disk is outgrown or several balancers count together."""
