"""The load generator: `coordinator` leads processes of `worker`, each of which holds thousands of connections."""
