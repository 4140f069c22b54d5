"""Image bytes: fetched, proved to be an image, kept. Knows only ``ObjectStoragePath`` of Airflow."""
