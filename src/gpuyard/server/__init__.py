"""The process: settings, wiring and entry. The only place that knows everybody."""
