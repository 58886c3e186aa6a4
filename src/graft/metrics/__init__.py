"""Metrics: plain functions of arrays, checked against scikit-learn in the tests."""
