"""Whole slides: read at the network's resolution, segmented region by region, written as they come.

Nothing is imported here, so that the worker processes that tell nuclei apart start without PyTorch.
"""
