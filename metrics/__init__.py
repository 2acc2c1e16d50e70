"""What Prometheus sees: the collector, and the dashboards and rules that go with it."""
