"""MONCH in MONAI Label: its app, and what that needs to segment, learn from corrections and propose what to label next.

MONAI Label has an environment of its own (`requirements-label.txt`): `app`, `studies`, `infer`, `responses`,
`train`, `strategies` and `errors` import it; the other modules do without.
"""
