"""Bytes: fetched, proved to be an image, kept. Knows nothing of Airflow beyond ``ObjectStoragePath``."""
