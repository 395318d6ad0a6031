"""The API of the Lightspeed Core Service (LCS): one file per resource, in LCS's paths and words."""
