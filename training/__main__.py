"""`python -m training <verb> <config.yaml>`, and the script that `fabric run` starts: `fabric run ... training/__main__.py`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    root = str(Path(__file__).resolve().parents[1])
    if root not in sys.path:  # started as a script, the folder of this file stands in its place
        sys.path.insert(0, root)
    from training.cli import main

    main()
