"""Load any model format; where versions lie. Imports configs only, and each framework inside its own adapter."""
