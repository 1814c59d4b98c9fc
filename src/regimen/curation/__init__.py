"""Curation: filters, duplicates, leaks, the data card, and the ledger that accounts for it all."""
