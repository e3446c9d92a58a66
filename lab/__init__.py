"""Captures with labels: made by real programs (lab.py), made up (synthetic.py), and judged."""
