"""The decision for a budget: which networks on record fit, in order, and why others do not.

A network stands for its best case. What is not known is told apart from what does not fit.
"""
