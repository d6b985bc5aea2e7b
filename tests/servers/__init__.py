"""Real servers for tests, from wheels: PostgreSQL and Valkey; and databases made from a template in milliseconds."""
