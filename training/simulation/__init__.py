"""Makes pairs of MR contrasts from label maps: anatomy, tissue values, signal equations, scanner faults."""
