"""Protocol codecs: bytes to checked rows and back, without Ray and without a web framework."""
