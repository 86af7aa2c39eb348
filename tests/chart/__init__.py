"""How the chart's tests render with Helm's own engine: a worker under a Python of its own, an API that records."""
