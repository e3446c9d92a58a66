# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as text, JSON, CSV, HTML and pictures.

text      a document of facts and tables, and how it is printed; JSON and CSV
words     times, ports and what a source asked for, in words
sweep     a sweep as tables, JSON and CSV, and which of its settings may be followed
explain   every step of the way of one source's packets; transcript: as it is printed
html      a page that holds everything itself
plots     pictures, by matplotlib
terminal  colour and progress
files     writes a file whole or not at all
"""
