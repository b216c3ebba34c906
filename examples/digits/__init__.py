"""The demo: two models of handwritten digits, their training and the node that scales the pixels."""
