"""Sweeps: many training runs, on the cores of this machine or on a Dask cluster."""
