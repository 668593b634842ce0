"""The native backend on a GPU: its plans, its kernels in Triton, and whole passes that are recorded.

The other modules import those that need Triton within functions: builds of torch for the CPU lack it.
"""
