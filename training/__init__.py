"""Makes the weights: simulation, real pairs, networks, recipes, evaluation and export.

Nothing here is installed with the product. The product ships what `python -m training export` writes: a bundle folder.
Volumes are numpy arrays in the order (z, y, x) of a RAS image at 1 mm, so axis 0 runs from the feet to the head and
`array[z]` is an axial slice. Times are milliseconds, lengths millimetres.
"""

from __future__ import annotations

from modality_conversion import telemetry

telemetry.forbid()  # before any recipe imports onnxruntime
