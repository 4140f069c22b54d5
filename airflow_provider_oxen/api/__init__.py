"""The Oxen.ai hub over HTTP; knows nothing of Airflow."""
