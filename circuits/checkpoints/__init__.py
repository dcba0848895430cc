"""The run file: its layout, its writer, its recovery and its reader. Nothing else touches HDF5."""
