"""The network that says what kind of scan it is looking at: data, training, export and figures of the recogniser."""
