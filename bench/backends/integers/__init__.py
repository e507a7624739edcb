"""Networks that compute in 8-bit integers: made by the tools of a runtime, and checked."""
