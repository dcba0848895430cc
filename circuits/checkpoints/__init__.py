"""The HDF5 file of a run: its layout, writer, recovery and reader. No other package reads or writes this file."""
