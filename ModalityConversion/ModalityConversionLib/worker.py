"""The engine's command line in a process of its own: `PythonSlicer worker.py convert scan.mha --to T2 ...`.

Knows nothing of Slicer. It yields to the application when the processor is busy.
"""

import os
import sys
from pathlib import Path

# The engine's folder takes the place of this one, whose files must not be found as top-level modules.
sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(5)
    from modality_conversion.cli import main

    main()
