"""The demo of precomputed answers: functions of NumPy, SciPy and scikit-learn that go with one another."""
