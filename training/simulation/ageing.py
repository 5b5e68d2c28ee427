"""An older brain: thinner cortex, wider sulci and ventricles."""

import numpy as np

from training.simulation.anatomy import Head, is_any
from training.simulation.fields import smooth_field, torch_generator
from training.simulation.tissues import CODE


def shrink(head: Head, rng: np.random.Generator) -> Head:
    """A head whose brain has lost up to 1.6 mm of cortex and up to 5 mm along its ventricles, unevenly."""
    codes = head.codes.clone()
    generator = torch_generator(rng, codes.device)
    uneven = (1 + 0.5 * smooth_field(head.shape, 40, generator)[0]).clamp(0, 2)
    cortex = is_any(codes, ("grey_matter", "cerebellar_cortex"))
    codes.masked_fill_(cortex & (head.distance("below_surface") < rng.uniform(0, 1.6) * uneven), CODE["csf"])
    deep = is_any(codes, ("white_matter", "leukoaraiosis", "caudate", "thalamus"))
    codes.masked_fill_(deep & (head.distance("to_ventricle") < rng.uniform(0, 5.0) * uneven), CODE["ventricle"])
    return head.with_codes(codes)
