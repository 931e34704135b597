"""The durable truth: scans, keys, audit, batches in SQL. Every state change is one transaction."""
