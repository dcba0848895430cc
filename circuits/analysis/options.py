from circuits.options import Options as Options  # moved
