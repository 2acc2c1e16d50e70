"""What Prometheus reads: the collector; beside it dashboards, alerting rules and the runbook."""
