"""How well the detectors tell sick runs from healthy ones: labelled synthetic runs, and real logs."""
