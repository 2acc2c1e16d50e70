"""Events on their way to the receivers of webhooks."""
