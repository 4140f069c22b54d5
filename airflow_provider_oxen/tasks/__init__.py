"""One try of one job in a worker, between Airflow's faces and what jobs decides."""
