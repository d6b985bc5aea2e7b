"""events: what happened, told once, and who listens.

bus (EventBus), metrics (Metrics: numbers for Prometheus), logs (configure_logs, log_calls), redaction (what never
reaches a log). May import db and core, never another subject room.
"""
