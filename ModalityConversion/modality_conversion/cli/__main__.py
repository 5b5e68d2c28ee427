"""`python -m modality_conversion.cli`, for a host process that has no scripts folder."""

from . import main

main()
