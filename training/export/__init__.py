"""Writes a trained network as a bundle: a folder that the engine, the panel and MONAI can read."""
