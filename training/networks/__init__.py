"""Networks, made of MONAI's parts."""
