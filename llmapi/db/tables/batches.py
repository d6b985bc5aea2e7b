"""Uploaded files and batches."""
