"""Whether the documentation tells the truth about the code."""
