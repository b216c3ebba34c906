"""What deadlines, admission, batch sizes and hedged calls do for requests that harm each other."""
