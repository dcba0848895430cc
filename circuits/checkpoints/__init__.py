"""The run file: its layout, writer, recovery and reader. No other package reads or writes a run's HDF5."""
