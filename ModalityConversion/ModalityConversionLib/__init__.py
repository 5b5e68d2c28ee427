"""What touches Slicer: scene in and out, the run in a process of its own, the panel's parts, layouts, installation.

Nothing here is imported before the module's panel is opened or its logic is used.
"""
