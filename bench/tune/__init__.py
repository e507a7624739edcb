"""`bench tune`: a search for the fastest way to run one network here, and its confirmation."""
