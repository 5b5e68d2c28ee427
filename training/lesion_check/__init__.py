"""Plants faults into synthetic scans, fits the crude lesion check to them, and measures how many it finds."""
