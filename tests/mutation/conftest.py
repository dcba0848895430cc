"""These are programs, not tests: `tests/test_mutation.py` tests them."""

collect_ignore_glob = ["*.py"]
