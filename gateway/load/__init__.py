"""The load generator: `crew` leads processes of `worker`, each of which holds thousands of connections."""
