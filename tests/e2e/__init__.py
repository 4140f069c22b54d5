"""Airflow's web interface in a browser, run by ``make e2e``."""
