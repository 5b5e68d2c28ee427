"""Cases on disk, the scale they are stored in, real pairs, and how training draws from them."""
