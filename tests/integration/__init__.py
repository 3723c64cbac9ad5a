"""The pooler between a hand-made wire client and a real, or a scripted, PostgreSQL server."""
