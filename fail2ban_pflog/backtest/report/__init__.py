# SPDX-License-Identifier: GPL-2.0-or-later
"""Results, told.

report      a document of facts and tables; as text, JSON and CSV
words       times, ports and what a source asked for, in words
advice      which of a sweep's settings may be followed, and whom to look at before
sweep       a sweep as tables, JSON and CSV
explain     every step of the way of one source's packets
transcript  the same as it is printed, and the sum of it
pictures    by matplotlib: ports and sources over time, packets over time, sweeps
page        HTML that holds everything itself
terminal    colour and progress, where rich is installed
"""
