"""What Millrace's job is compared with: each is a script, written as a good engineer would for this data alone."""
