"""The Oxen.ai hub over HTTP. This package does not know Airflow."""
