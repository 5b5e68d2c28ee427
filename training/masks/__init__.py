"""Annotations of other programs to label maps and back: Labelme, Pascal VOC, Slicer's segmentations."""
