"""Finds what would spoil a training: each file has one check, `command` runs them all, `report` shows what they found."""
