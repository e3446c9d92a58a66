# SPDX-License-Identifier: GPL-2.0-or-later
"""Results, told.

report    a document of facts and tables; as text, JSON and CSV
advice    which of a sweep's settings is the best
explain   every step of the way of one source's packets
pictures  by matplotlib: ports and sources over time, packets over time, sweeps
page      HTML that holds everything itself
terminal  colour and progress, where rich is installed
"""
